"""`privfed train serve` and `join`, a party, and `privfed aggregate`, the server."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from privfed.errors import ConfigError
from psi.cli.passphrases import known_passphrase
from psi.defaults import WAIT_SECONDS

if TYPE_CHECKING:
    from privfed.data import Dataset
    from privfed.partner.overlap import FoundOverlap
    from privfed.partner.plan import Plan
    from privfed.partner.results import OwnFile
    from privfed.partner.trainer import FinishedRound

# Without gRPC's own reports of failed handshakes, which would come beside our one line.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

_ALL_INTERFACES = ("", "0.0.0.0", "[::]")  # noqa: S104

_AGAINST = {  # shares say it themselves
    "local": "that ε is for insiders and outsiders alike: it holds against all others together",
    "central": "that ε is for insiders and outsiders alike, but not for the server: it is trusted "
    "with this party's exact sums, and with the noise",
}

PlanFile = Annotated[Path, typer.Option("--plan", help="The plan, the same at all parties.")]
IdentityFolder = Annotated[
    Path,
    typer.Option("--identity", help="This party's keyring folder, of `privfed keys identity`."),
]
PassphraseFile = Annotated[
    Path | None,
    typer.Option(help="File whose first line locks the keys; without it the terminal is asked."),
]
Listen = Annotated[
    str | None,
    typer.Option(help="HOST:PORT to listen on; the plan's port on all interfaces without it."),
]
TableFile = Annotated[
    Path, typer.Argument(help="This party's rows: CSV or XLSX.", show_default=False)
]
Label = Annotated[str | None, typer.Option(help="This table's label column; as in the plan.")]
IDs = Annotated[str | None, typer.Option("--id", help="This table's ID column; as in the plan.")]
Model = Annotated[str, typer.Option(help="dress, or module:function that returns a torch module.")]
Out = Annotated[Path, typer.Option(help="Folder for the model and the report.")]
Wait = Annotated[float, typer.Option(help="Seconds for which others may be missed.")]
BudgetFile = Annotated[
    Path | None,
    typer.Option(
        help="File of a budget over several trainings on these rows; made where it does not "
        "exist. One for this plan alone without it."
    ),
]
TestFile = Annotated[
    Path | None,
    typer.Option("--test", help="Rows of one's own that are not trained on, to evaluate on."),
]
OverlapListen = Annotated[
    str | None,
    typer.Option(help="HOST:PORT to listen on for the overlap; the plan's port without it."),
]
Granted = Annotated[
    float | None,
    typer.Option(help="ε that --budget grants in all; the plan's without it."),
]


def serve(
    table: TableFile,
    plan: PlanFile,
    identity: IdentityFolder,
    out: Out,
    label: Label = None,
    ids: IDs = None,
    model: Model = "dress",
    budget: BudgetFile = None,
    grant: Granted = None,
    test: TestFile = None,
    listen: Listen = None,
    overlap_listen: OverlapListen = None,
    wait: Wait = WAIT_SECONDS,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Be a party that also runs the server."""
    from privfed.partner.plan import Plan
    from privfed.partner.server import served

    agreed = Plan.load(plan)
    party = _Party(agreed, identity, passphrase_file, budget, grant)
    if (
        agreed.place_of(party.own.certificate)
        or agreed.server.fingerprint != agreed.parties[0].fingerprint
    ):
        raise ConfigError("another one is the plan's server: use `privfed train join`")
    party.bring(table, label, ids, model, test)
    ports: list[int] = []
    with served(
        agreed, party.params, party.own, address=listen, tell=_tell, on_listening=ports.append
    ) as meeting:
        _tell(f"listening on port {ports[0]}")
        party.train(out, wait, overlap_listen, address=_reached(listen, ports[0]))
        meeting.finished.wait(min(wait, 10))


def join(
    table: TableFile,
    plan: PlanFile,
    identity: IdentityFolder,
    out: Out,
    label: Label = None,
    ids: IDs = None,
    model: Model = "dress",
    budget: BudgetFile = None,
    grant: Granted = None,
    test: TestFile = None,
    overlap_listen: OverlapListen = None,
    wait: Wait = WAIT_SECONDS,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Be a party; another one, or `privfed aggregate`, runs the server."""
    from privfed.partner.plan import Plan

    party = _Party(Plan.load(plan), identity, passphrase_file, budget, grant)
    party.bring(table, label, ids, model, test)
    party.train(out, wait, overlap_listen)


def aggregate(
    plan: PlanFile,
    identity: Annotated[
        Path,
        typer.Option("--identity", help="The server's own folder, of `privfed keys identity`."),
    ],
    listen: Listen = None,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Be the server: it listens, all join, and it holds no key of theirs and no data."""
    from privfed.partner.plan import Plan
    from privfed.partner.server import served
    from psi.network import TLSIdentity

    agreed = Plan.load(plan)
    own = TLSIdentity.load(identity, _passphrase(identity, passphrase_file))
    if agreed.method == "central":
        _tell("this server is trusted: it sees each party's exact sums, and adds the noise")
    with served(
        agreed, agreed.parameters(), own, address=listen, tell=_tell,
        on_listening=lambda port: _tell(f"listening on port {port}"),
    ) as meeting:  # fmt: skip
        meeting.finished.wait()


class _Party:
    """What serve and join do alike."""

    def __init__(
        self,
        plan: Plan,
        identity: Path,
        passphrase_file: Path | None,
        budget: Path | None,
        grant: float | None,
    ) -> None:
        from privfed.partner.company import Company
        from psi.network import TLSIdentity

        passphrase = _passphrase(identity, passphrase_file)
        self._plan, self.params = plan, plan.parameters()
        self.own = TLSIdentity.load(identity, passphrase)
        self._company = Company(
            plan, self.params, identity, passphrase, budget=budget, granted=grant
        )
        self._statement = _statement(plan)
        for line in self._statement:  # before a row is touched
            _tell(line)

    def bring(
        self, table: Path, label: str | None, ids: str | None, model: str, test: Path | None
    ) -> None:
        from privfed.partner.rows import load_rows

        plan, place = self._plan, self._plan.place_of(self.own.certificate)
        self._table, self._model = table, _model(plan, model)
        self._rows = load_rows(table, plan, place, label, ids)
        self._test_table = test
        self._test = None if test is None else load_rows(test, plan, place, label, ids, test=True)

    def train(
        self, out: Path, wait: float, overlap_listen: str | None, address: str | None = None
    ) -> None:
        import numpy as np
        import torch

        from privfed.experiment.model_file import SavedModel, save_model
        from privfed.partner.history import TrainingHistory
        from privfed.partner.results import OverlapCounts
        from privfed.report.training import write_training

        plan, company, rows = self._plan, self._company, self._rows
        known: dict[str, Any] = {"history": None, "found": None}

        def history(of: Dataset) -> TrainingHistory:
            """Return what takes rounds down; rows without a number in them are not trained on."""
            sound = np.isfinite(of.features).all(axis=1)
            train = torch.from_numpy(of.features[sound]), torch.from_numpy(of.labels[sound])
            test = None
            if self._test is not None:
                test = torch.from_numpy(self._test.features), torch.from_numpy(self._test.labels)
            return TrainingHistory(company.home, plan, train, test)

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        console = Console(stderr=True)
        with Progress(*columns, TimeRemainingColumn(), console=console) as bar:
            done = company.folder.finished()
            task = bar.add_task(
                "training", total=plan.rounds, completed=0 if done is None else done.rounds
            )

            def started(left: Dataset, found: FoundOverlap | None) -> Callable[[Any], None]:
                takes_down = history(left)
                known.update(history=takes_down, found=found)

                def on_round(finished: FinishedRound) -> None:
                    takes_down.on_round(finished)
                    bar.update(task, completed=finished.rounds)

                return on_round

            arrays = company.train(
                rows,
                self._model,
                self.own,
                test=self._test,
                address=address,
                overlap_address=overlap_listen,
                wait_seconds=wait,
                tell=bar.console.print,
                on_start=started,
            )
        about = f"{plan.job}: {len(plan.parties)} parties, {plan.rounds} rounds"
        saved = SavedModel(
            arrays, rows.encoder, rows.class_names, about, model=plan.model, loss=plan.loss
        )
        save_model(out / "model.npz", saved)
        found: FoundOverlap | None = known["found"]
        seen = None if found is None else found.seen
        overlap = None
        if found is not None:
            taken = found.taken_out
            overlap = OverlapCounts(found.counts, None if taken is None else int(taken.sum()))
        results = (known["history"] or history(rows)).finish(
            self._model,
            place=plan.place_of(self.own.certificate),
            statement=self._statement,
            rounds_paid=company.rounds_paid,
            files=self._files(out / "model.npz"),
            overlap=overlap,
            seen=seen,
            unseen=None if seen is None else ~seen,
        )
        results.write(out)
        report = write_training(results, out)
        print(f"weights  {results.weights_sha256}")
        print(out / "model.npz")
        print(report)

    def _files(self, model: Path) -> list[OwnFile]:
        from privfed.partner.results import OwnFile

        files = [OwnFile("training rows", self._table.name, self._rows.sha256)]
        if self._test is not None and self._test_table is not None:
            files.append(OwnFile("test rows", self._test_table.name, self._test.sha256))
        digest = hashlib.sha256(model.read_bytes()).hexdigest()
        return [*files, OwnFile("model", model.name, digest)]


def _statement(plan: Plan) -> list[str]:
    """Say what the plan promises, and what it does not."""
    private, said = plan.private, list[str]()
    if private is None:
        if len(plan.parties) == 2:
            said.append("two parties: each can compute the other's update from the sum")
        return said
    said.append(f"privacy: {private.statement()}")
    if who := _AGAINST.get(private.noise):
        said.append(who)
    if plan.overlap == "rows" and all(sum(unit) == 1 for unit in private.placements):
        said.append(
            "the overlap is outside of that ε, which is for a row whose ID is known to be there: "
            "it decides whether others train on theirs"
        )
    elif plan.overlap != "none":
        said.append("what the overlap tells is outside of that ε")
    return said


def _model(plan: Plan, name: str) -> Any:
    """Return the plan's model with its initial weights."""
    from privfed.partner.models import check_scores, started
    from privfed.training import get_arrays
    from privfed.training.builders import DRESS, model_builder

    if name != plan.model:
        raise ConfigError(
            f"the plan trains {plan.model}: name it with --model, if you trust that code; code "
            "comes from one's own command line alone"
        )
    if name != DRESS:
        from_here()
    features, classes = plan.encoder_of_rows().num_features, len(plan.classes)
    model = started(model_builder(name, features, classes), plan.seed)
    check_scores(model, features, classes)
    plan.check_start(get_arrays(model))
    return model


def from_here() -> None:
    """Let a module beside the user be imported, as `python -m` does."""
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)


def _reached(listen: str | None, port: int) -> str:
    """Return where this process reaches its own server."""
    host = (listen or "").rpartition(":")[0]
    return f"{'localhost' if host in _ALL_INTERFACES else host}:{port}"


def _passphrase(identity: Path, file: Path | None) -> str | None:
    return known_passphrase(file, identity / "identity.key", refusal=ConfigError)


def _tell(line: str) -> None:
    print(f"privfed: {line}", file=sys.stderr, flush=True)
