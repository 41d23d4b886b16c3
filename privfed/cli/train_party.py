"""`privfed train serve` and `join`, a party, and `privfed aggregate`, the server."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from privfed.cli.own_code import from_here
from privfed.cli.train_progress import rounds_bar, tell
from privfed.cli.typed import above_zero, host_port_here
from privfed.errors import ConfigError
from psi.cli.passphrases import known_passphrase
from psi.defaults import WAIT_SECONDS

if TYPE_CHECKING:
    from privfed.data import Dataset
    from privfed.partner.overlap import FoundOverlap
    from privfed.partner.plan import Plan
    from privfed.partner.trainer import FinishedRound
    from psi.network import TLSIdentity

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
    typer.Option(
        help="HOST:PORT to listen on; the plan's port on all interfaces without it.",
        callback=host_port_here,
    ),
]
TableFile = Annotated[
    Path, typer.Argument(help="This party's rows: CSV, XLSX or Parquet.", show_default=False)
]
Label = Annotated[
    str | None, typer.Option(help="This table's label column; called as in the plan without it.")
]
IDs = Annotated[
    str | None,
    typer.Option("--id", help="This table's ID column; called as in the plan without it."),
]
MODEL_HELP = "dress, linear, or module:function of one's own, called with features= and classes=."
Model = Annotated[str, typer.Option(help=f"What the plan trains: {MODEL_HELP}")]
Out = Annotated[Path, typer.Option(help="Folder for the model and the report; may be new.")]
Wait = Annotated[
    float, typer.Option(help="Seconds for which others may be missed.", callback=above_zero)
]
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
    typer.Option(
        help="HOST:PORT to listen on for the overlap; the plan's port without it.",
        callback=host_port_here,
    ),
]
Granted = Annotated[
    float | None,
    typer.Option(help="ε that --budget grants in all; the plan's without it.", callback=above_zero),
]


def serve(
    table: TableFile,
    plan: PlanFile,
    identity: IdentityFolder,
    out: Out,
    test: TestFile = None,
    label: Label = None,
    ids: IDs = None,
    model: Model = "dress",
    budget: BudgetFile = None,
    grant: Granted = None,
    listen: Listen = None,
    overlap_listen: OverlapListen = None,
    wait: Wait = WAIT_SECONDS,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Be a party that also runs the server: train on TABLE, a CSV, XLSX or Parquet file.

    Started again after any interruption, it goes on from the last round that is finished. The
    table is read and not changed.
    """
    from privfed.partner.plan import Plan
    from privfed.partner.server import served

    agreed = Plan.load(plan)
    party = _Party(agreed, identity, passphrase_file, budget, grant)
    if agreed.server.fingerprint != agreed.parties[party.place].fingerprint:
        raise ConfigError("another one is the plan's server: use `privfed train join`")
    ports: list[int] = []
    party.bring(table, out, label, ids, model, test)
    with served(
        agreed, party.params, party.own, address=listen, tell=tell, on_listening=ports.append
    ) as meeting:
        tell(f"listening on port {ports[0]}")
        party.train(wait, overlap_listen, address=_reached(listen, ports[0]))
        meeting.finished.wait(min(wait, 10))


def join(
    table: TableFile,
    plan: PlanFile,
    identity: IdentityFolder,
    out: Out,
    test: TestFile = None,
    label: Label = None,
    ids: IDs = None,
    model: Model = "dress",
    budget: BudgetFile = None,
    grant: Granted = None,
    overlap_listen: OverlapListen = None,
    wait: Wait = WAIT_SECONDS,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Be a party: train on TABLE, a CSV, XLSX or Parquet file; another one runs the server.

    That is the party that runs `privfed train serve`, or `privfed aggregate`. Started again after
    any interruption, it goes on from the last round that is finished. The table is read and not
    changed.
    """
    from privfed.partner.plan import Plan

    party = _Party(Plan.load(plan), identity, passphrase_file, budget, grant)
    party.bring(table, out, label, ids, model, test)
    party.train(wait, overlap_listen)


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
    from psi.network import fingerprint

    agreed = Plan.load(plan)
    own, _ = own_identity(identity, passphrase_file)
    if fingerprint(own.certificate) != agreed.server.fingerprint:
        raise ConfigError(
            f"--identity {identity} is not the plan's server: give the folder whose tls.crt the "
            "parties got"
        )
    if agreed.method == "central":
        tell("this server is trusted: it sees each party's exact sums, and adds the noise")
    with served(
        agreed, agreed.parameters(), own, address=listen, tell=tell,
        on_listening=lambda port: tell(f"listening on port {port}"),
    ) as meeting:  # fmt: skip
        meeting.finished.wait()
    tell("all parties have finished")


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

        if grant is not None and budget is None:
            raise ConfigError("--grant has no effect without --budget: give both")
        if budget is not None and plan.private is None:
            raise ConfigError("--budget: the plan has no ε to pay for: leave it out")
        self._plan, self.params = plan, plan.parameters()
        self.own, passphrase = own_identity(identity, passphrase_file)
        self.place = plan.place_of(self.own.certificate)
        self._company = Company(
            plan, self.params, identity, passphrase, budget=budget, granted=grant
        )
        self._statement = _statement(plan)
        for line in self._statement:  # before a row is touched
            tell(line)

    def bring(
        self,
        table: Path,
        out: Path,
        label: str | None,
        ids: str | None,
        model: str,
        test: Path | None,
    ) -> None:
        """Read what the party brings; all of it is checked before anybody is asked to wait."""
        from privfed.cli.train_outcome import TrainingOutcome, check_out
        from privfed.partner.rows import load_rows, remarks

        plan, place = self._plan, self.place
        check_out(out, plan.fingerprint.hex())
        self._model = _model(plan, model)
        self._rows = load_rows(table, plan, place, label, ids)
        self._test = None if test is None else load_rows(test, plan, place, label, ids, test=True)
        for file, rows in ((table, self._rows), (test, self._test)):
            for line in [] if rows is None else remarks(rows):
                tell(f"{file}: {line}")
        self._outcome = TrainingOutcome(
            self._company, place, out, table, self._rows, test, self._test
        )

    def train(self, wait: float, overlap_listen: str | None, address: str | None = None) -> None:
        """Train, and write what is left of it into the folder of --out."""
        from privfed.training import set_arrays

        plan, company, outcome = self._plan, self._company, self._outcome
        done = company.folder.finished()
        with rounds_bar(plan.rounds, 0 if done is None else done.rounds) as bar:

            def on_start(left: Dataset, found: FoundOverlap | None) -> Callable[[Any], None]:
                take_down = outcome.start(left, found)

                def on_round(finished: FinishedRound) -> None:
                    take_down(finished)
                    bar.finished(finished.rounds)

                return on_round

            try:
                company.train(
                    self._rows,
                    self._model,
                    self.own,
                    test=self._test,
                    address=address,
                    overlap_address=overlap_listen,
                    wait_seconds=wait,
                    tell=bar.tell,
                    on_start=on_start,
                )
            except KeyboardInterrupt:  # which may end the wait for others' last word
                done = company.folder.finished()
                if done is None or done.rounds < plan.rounds:
                    raise
                set_arrays(self._model, done.weights)
        for line in outcome.write(self._model, self._statement):
            print(line)


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
    from privfed.partner.models import started
    from privfed.training import get_arrays
    from privfed.training.builders import OURS, check_scores, model_builder

    if name != plan.model:
        raise ConfigError(
            f"the plan trains {plan.model}: name it with --model, if you trust that code; code "
            "comes from one's own command line alone"
        )
    if name not in OURS:
        from_here()
    features, classes = plan.encoder_of_rows().num_features, len(plan.classes)
    model = started(model_builder(name, features, classes), plan.seed)
    check_scores(model, features, classes)
    plan.check_start(get_arrays(model))
    return model


def _reached(listen: str | None, port: int) -> str:
    """Return where this process reaches its own server."""
    host = (listen or "").rpartition(":")[0]
    return f"{'localhost' if host in _ALL_INTERFACES else host}:{port}"


def own_identity(identity: Path, passphrase_file: Path | None) -> tuple[TLSIdentity, str | None]:
    """Return this process's key and certificate, and what locks them."""
    from psi.network import TLSIdentity

    if not identity.is_dir():
        raise ConfigError(
            f"--identity {identity} is no folder: give the one that `privfed keys identity` made"
        )
    passphrase = known_passphrase(passphrase_file, identity / "identity.key", refusal=ConfigError)
    return TLSIdentity.load(identity, passphrase), passphrase
