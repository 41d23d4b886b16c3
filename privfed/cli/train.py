"""`privfed train` and `privfed aggregate`: companies train together, each by one command."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from privfed import defaults
from privfed.errors import ConfigError
from psi.cli.passphrases import known_passphrase
from psi.defaults import WAIT_SECONDS

if TYPE_CHECKING:
    from privfed.partner.plan import Plan, PlanParty

_ALL_INTERFACES = ("", "0.0.0.0", "[::]")  # noqa: S104

app = typer.Typer(no_args_is_help=True, help="Train one model with other companies.")

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
Table = Annotated[Path, typer.Argument(help="This party's rows: CSV or XLSX.", show_default=False)]
Label = Annotated[str | None, typer.Option(help="This table's label column; as in the plan.")]
IDs = Annotated[str | None, typer.Option("--id", help="This table's ID column; as in the plan.")]
Model = Annotated[str, typer.Option(help="dress, or module:function that returns a torch module.")]
Out = Annotated[Path, typer.Option(help="Folder for the model.")]
Wait = Annotated[float, typer.Option(help="Seconds for which others may be missed.")]


@app.command()
def init(
    plan: PlanFile,
    party: Annotated[
        list[str],
        typer.Option(help="NAME=CERTIFICATE of each party, in the order that all keep."),
    ],
    address: Annotated[str, typer.Option(help="HOST:PORT on which the server is reached.")],
    rows: Annotated[
        int, typer.Option(min=1, help="A bound on each party's training rows, which is public.")
    ],
    server: Annotated[
        Path | None,
        typer.Option(help="The server's certificate; without it the first party is the server."),
    ] = None,
    rounds: Annotated[
        int, typer.Option(min=1, help="Rounds of one local epoch.")
    ] = defaults.ROUNDS,
    seed: Annotated[int, typer.Option(min=0, help="Of weights, batches and dropout.")] = 0,
    weighted: Annotated[
        bool, typer.Option(help="Whether parties count by their rows, which stay hidden.")
    ] = True,
    clip_range: Annotated[
        float | None,
        typer.Option(help="Bound on an update's values; as far as Adam can go without it."),
    ] = None,
    adversary: Annotated[
        str | None, typer.Option(help="lying-server+N, lying-server or honest-server.")
    ] = None,
    model: Model = "dress",
    example: Annotated[
        Path | None,
        typer.Option(
            help="A table whose columns, categories and ranges all may know: they are in the plan. "
            "The dress study's public code table without it."
        ),
    ] = None,
    label: Annotated[str | None, typer.Option(help="The label column of --example.")] = None,
    ids: Annotated[str | None, typer.Option("--id", help="The ID column of --example.")] = None,
    encoding: Annotated[str, typer.Option(help="codes or onehot.")] = defaults.ENCODING,
    job: Annotated[str, typer.Option(help="Name of the training.")] = "training",
) -> None:
    """Write a plan from the parties' certificates; all compare its fingerprint."""
    from privfed.data import load_dataset
    from privfed.partner.models import model_builder, started
    from privfed.partner.plan import PlanParty, make_plan
    from privfed.secagg.adversary import default_adversary
    from privfed.training import adam_reach, get_arrays
    from privfed.training.local import BATCH_SIZE
    from psi.network import load_certificate

    parties = []
    for each in party:
        name, _, file = each.partition("=")
        if not file:
            raise ConfigError(f"--party {each}: give NAME=CERTIFICATE, such as guest=guest.crt")
        parties.append(PlanParty(name=name, certificate=load_certificate(Path(file)).decode()))
    listens = parties[0]
    if server is not None:
        listens = PlanParty(name="server", certificate=load_certificate(server).decode())
    how: dict[str, Any] = {"encoding": encoding}
    if example is not None:
        known = load_dataset("table", example, label=label, id_column=ids, **how)
        labels = known.class_names
    else:
        known, labels = load_dataset("dresses", **how), ("0", "1")
    _from_here()
    build = model_builder(model, known.encoder.num_features, len(known.class_names))
    made = make_plan(
        parties,
        listens,
        start=get_arrays(started(build, seed)),
        job=job,
        model=model,
        encoder=known.encoder.to_json(),
        labels=tuple(map(str, labels)),
        classes=tuple(map(str, known.class_names)),
        rounds=rounds,
        seed=seed,
        most_rows=rows,
        weighted=weighted,
        clip_range=clip_range or adam_reach(math.ceil(rows / BATCH_SIZE)),
        adversary=adversary or default_adversary(len(parties)),
        address=address,
    )
    made.save(plan)
    _say(made)
    print(f"give {plan} to all; they compare the fingerprint by telephone")


@app.command()
def show(plan: PlanFile) -> None:
    """Say what a plan is: who, how long, against whom, and the fingerprint to compare."""
    from privfed.partner.plan import Plan

    _say(Plan.load(plan))


@app.command()
def serve(
    table: Table,
    plan: PlanFile,
    identity: IdentityFolder,
    out: Out,
    label: Label = None,
    ids: IDs = None,
    model: Model = "dress",
    listen: Listen = None,
    wait: Wait = WAIT_SECONDS,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Be a party that also runs the server."""
    from privfed.partner.plan import Plan
    from privfed.partner.server import served
    from psi.network import TLSIdentity

    agreed, passphrase = Plan.load(plan), _passphrase(identity, passphrase_file)
    own = TLSIdentity.load(identity, passphrase)
    if (
        agreed.place_of(own.certificate)
        or agreed.server.fingerprint != agreed.parties[0].fingerprint
    ):
        raise ConfigError("another one is the plan's server: use `privfed train join`")
    party = _Party(agreed, table, identity, passphrase, label, ids, model)
    ports: list[int] = []
    with served(
        agreed, party.params, own, address=listen, tell=_tell, on_listening=ports.append
    ) as meeting:
        _tell(f"listening on port {ports[0]}")
        party.train(own, out, wait, address=_reached(listen, ports[0]))
        meeting.finished.wait(min(wait, 10))


@app.command()
def join(
    table: Table,
    plan: PlanFile,
    identity: IdentityFolder,
    out: Out,
    label: Label = None,
    ids: IDs = None,
    model: Model = "dress",
    wait: Wait = WAIT_SECONDS,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Be a party; another one, or `privfed aggregate`, runs the server."""
    from privfed.partner.plan import Plan
    from psi.network import TLSIdentity

    agreed, passphrase = Plan.load(plan), _passphrase(identity, passphrase_file)
    party = _Party(agreed, table, identity, passphrase, label, ids, model)
    party.train(TLSIdentity.load(identity, passphrase), out, wait)


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
        table: Path,
        identity: Path,
        passphrase: str | None,
        label: str | None,
        ids: str | None,
        model: str,
    ) -> None:
        from privfed.partner.rows import load_rows

        self._plan, self._keys, self._passphrase = plan, identity, passphrase
        self._rows = load_rows(table, plan, label, ids)
        self._model, self.params = _model(plan, model), plan.parameters()
        if len(plan.parties) == 2:
            _tell("two parties: each can compute the other's update from the sum")

    def train(self, own: Any, out: Path, wait: float, address: str | None = None) -> None:
        import torch

        from privfed.experiment.model_file import SavedModel, save_model
        from privfed.partner.channel import connected
        from privfed.partner.progress import Folder
        from privfed.partner.trainer import Trainer
        from privfed.training import AdamTrainer, one_thread, weights_sha256

        plan, rows = self._plan, self._rows
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        console = Console(stderr=True)
        with Progress(*columns, TimeRemainingColumn(), console=console) as bar, one_thread():
            task = bar.add_task("training", total=plan.rounds)
            trainer = Trainer(
                plan,
                self.params,
                self._keys,
                self._passphrase,
                Folder(self._keys / "training" / plan.fingerprint.hex()[:32], plan.fingerprint),
                self._model,
                AdamTrainer(torch.from_numpy(rows.features), torch.from_numpy(rows.labels)),
                len(rows) if plan.weighted else None,
                on_round=lambda done, model: bar.update(task, completed=done),
            )
            bar.update(task, completed=trainer.rounds)
            with connected(
                plan, self.params, own, address=address, wait_seconds=wait, tell=bar.console.print
            ) as channel:
                arrays = trainer.run(channel)
        about = f"{plan.job}: {len(plan.parties)} parties, {plan.rounds} rounds"
        saved = SavedModel(arrays, rows.encoder, rows.class_names, about)
        save_model(out / "model.npz", saved)
        print(f"weights  {weights_sha256(arrays)}")
        print(out / "model.npz")


def _model(plan: Plan, name: str) -> Any:
    """Return the plan's model with its initial weights."""
    from privfed.partner.models import model_builder, started
    from privfed.training import get_arrays

    if name != plan.model:
        raise ConfigError(
            f"the plan trains {plan.model}: name it with --model, if you trust that code; code "
            "comes from one's own command line alone"
        )
    _from_here()
    encoder = plan.encoder_of_rows()
    model = started(model_builder(name, encoder.num_features, len(plan.classes)), plan.seed)
    plan.check_start(get_arrays(model))
    return model


def _from_here() -> None:
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


def _say(plan: Plan) -> None:
    def who(member: PlanParty) -> str:
        return f"{member.name:12} {member.fingerprint}"

    print(f"plan     {plan.fingerprint.hex(':')}")
    print(f"job      {plan.job}: {plan.model}, {plan.rounds} rounds, at most {plan.most_rows} rows")
    print(f"against  {plan.adversary}")
    for each in plan.parties:
        print(f"party    {who(each)}")
    print(f"server   {who(plan.server)} at {plan.address}")
