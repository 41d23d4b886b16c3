"""`privfed train serve` and `join`, a party, and `privfed aggregate`, the server."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from privfed.errors import ConfigError
from psi.cli.passphrases import known_passphrase
from psi.defaults import WAIT_SECONDS

if TYPE_CHECKING:
    from privfed.partner.plan import Plan

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
    listen: Listen = None,
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
    party.bring(table, label, ids, model)
    ports: list[int] = []
    with served(
        agreed, party.params, party.own, address=listen, tell=_tell, on_listening=ports.append
    ) as meeting:
        _tell(f"listening on port {ports[0]}")
        party.train(out, wait, address=_reached(listen, ports[0]))
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
    wait: Wait = WAIT_SECONDS,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Be a party; another one, or `privfed aggregate`, runs the server."""
    from privfed.partner.plan import Plan

    party = _Party(Plan.load(plan), identity, passphrase_file, budget, grant)
    party.bring(table, label, ids, model)
    party.train(out, wait)


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
        if len(plan.parties) == 2 and plan.private is None:
            _tell("two parties: each can compute the other's update from the sum")
        if plan.private is not None:  # before a row is touched
            _tell(f"privacy: {plan.private.statement()}")
            if who := _AGAINST.get(plan.private.noise):
                _tell(who)

    def bring(self, table: Path, label: str | None, ids: str | None, model: str) -> None:
        from privfed.partner.rows import load_rows

        self._rows = load_rows(
            table, self._plan, self._plan.place_of(self.own.certificate), label, ids
        )
        self._model = _model(self._plan, model)

    def train(self, out: Path, wait: float, address: str | None = None) -> None:
        from privfed.experiment.model_file import SavedModel, save_model
        from privfed.training import weights_sha256

        plan, rows = self._plan, self._rows
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        console = Console(stderr=True)
        with Progress(*columns, TimeRemainingColumn(), console=console) as bar:
            done = self._company.folder.finished()
            task = bar.add_task(
                "training", total=plan.rounds, completed=0 if done is None else done.rounds
            )
            arrays = self._company.train(
                rows,
                self._model,
                self.own,
                address=address,
                wait_seconds=wait,
                tell=bar.console.print,
                on_start=lambda rows, found: lambda done: bar.update(task, completed=done.rounds),
            )
        about = f"{plan.job}: {len(plan.parties)} parties, {plan.rounds} rounds"
        saved = SavedModel(arrays, rows.encoder, rows.class_names, about)
        save_model(out / "model.npz", saved)
        print(f"weights  {weights_sha256(arrays)}")
        print(out / "model.npz")


def _model(plan: Plan, name: str) -> Any:
    """Return the plan's model with its initial weights."""
    from privfed.partner.models import started
    from privfed.training import get_arrays
    from privfed.training.builders import model_builder

    if name != plan.model:
        raise ConfigError(
            f"the plan trains {plan.model}: name it with --model, if you trust that code; code "
            "comes from one's own command line alone"
        )
    from_here()
    encoder = plan.encoder_of_rows()
    model = started(model_builder(name, encoder.num_features, len(plan.classes)), plan.seed)
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
