"""`privfed train init` and `show`: the plan of companies that train together."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from privfed import defaults
from privfed.cli import train_party
from privfed.cli.train_party import IDs, Model, PlanFile
from privfed.errors import ConfigError

if TYPE_CHECKING:
    from privfed.partner.plan import Plan, PlanParty

app = typer.Typer(no_args_is_help=True, help="Train one model with other companies.")


@app.command()
def init(
    plan: PlanFile,
    party: Annotated[
        list[str],
        typer.Option(
            help="NAME=CERTIFICATE of each party, in the order that all keep; with --overlap "
            "NAME=CERTIFICATE@HOST:PORT of all but the last."
        ),
    ],
    address: Annotated[str, typer.Option(help="HOST:PORT on which the server is reached.")],
    rows: Annotated[
        str,
        typer.Option(
            help="A bound on each party's training rows, which is public; with --epsilon the "
            "number of each, such as 400,250."
        ),
    ],
    server: Annotated[
        Path | None,
        typer.Option(help="The server's certificate; without it the first party is the server."),
    ] = None,
    rounds: Annotated[
        int, typer.Option(min=1, help="Rounds of one local epoch, or of one noisy step.")
    ] = defaults.ROUNDS,
    seed: Annotated[int, typer.Option(min=0, help="Of weights, batches and dropout.")] = 0,
    weighted: Annotated[
        bool | None,
        typer.Option(
            help="Whether parties count by their rows, which stay hidden; they do, unless there "
            "is an --epsilon."
        ),
    ] = None,
    clip_range: Annotated[
        float | None,
        typer.Option(help="Bound on an update's values; as far as Adam can go without it."),
    ] = None,
    adversary: Annotated[
        str | None, typer.Option(help="lying-server+N, lying-server or honest-server.")
    ] = None,
    model: Model = "dress",
    loss: Annotated[
        str | None,
        typer.Option(
            help="How scores are judged: sigmoid, as in the dress study, or softmax; by the model "
            "without it."
        ),
    ] = None,
    learning_rate: Annotated[
        float | None,
        typer.Option(help="Adam's; 0.001, or 0.02 with --epsilon."),
    ] = None,
    epsilon: Annotated[
        float | None,
        typer.Option(help="Train with differential privacy: ε over all rounds."),
    ] = None,
    delta: Annotated[float, typer.Option(help="δ of that ε.")] = defaults.DELTA,
    noise: Annotated[
        str,
        typer.Option(
            help="shares: each party adds a share of it under encryption. local: each adds all of "
            "it. central: a server that is trusted with exact sums adds it."
        ),
    ] = "shares",
    clip_norm: Annotated[
        float, typer.Option(help="Bound on one row's gradient.")
    ] = defaults.L2_CLIP_NORM,
    batch: Annotated[
        int, typer.Option(min=1, help="Rows expected in a party's batch of a noisy step.")
    ] = defaults.EXPECTED_BATCH_SIZE,
    per_id: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Protect all rows of one ID at all parties, at most so many at each; each row by "
            "itself without it.",
        ),
    ] = None,
    spare_rounds: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Rounds that are paid for beside --rounds, as a lost one is paid anew; one in "
            "twenty without it, and at least 3.",
        ),
    ] = None,
    overlap: Annotated[
        str,
        typer.Option(
            help="What parties find out of the IDs that they share: none, counts, or rows, which "
            "the later of two takes out."
        ),
    ] = "none",
    example: Annotated[
        Path | None,
        typer.Option(
            help="A table whose columns, categories and ranges all may know: they are in the plan. "
            "The dress study's public code table without it."
        ),
    ] = None,
    label: Annotated[str | None, typer.Option(help="The label column of --example.")] = None,
    ids: IDs = None,
    encoding: Annotated[str, typer.Option(help="codes or onehot.")] = defaults.ENCODING,
    job: Annotated[str, typer.Option(help="Name of the training.")] = "training",
) -> None:
    """Write a plan from the parties' certificates; all compare its fingerprint."""
    from privfed.data import load_dataset
    from privfed.partner.models import check_scores, started
    from privfed.partner.plan import make_plan, privacy_settings
    from privfed.partner.privacy import training_privacy
    from privfed.secagg.adversary import default_adversary
    from privfed.training import adam_reach, get_arrays, share_parameters
    from privfed.training.builders import DRESS, model_builder
    from privfed.training.local import BATCH_SIZE, LEARNING_RATE

    parties = [_party(each) for each in party]
    listens = parties[0] if server is None else _member("server", server)
    how: dict[str, Any] = {"encoding": encoding}
    if example is not None:
        known = load_dataset("table", example, label=label, id_column=ids, **how)
        labels = known.class_names
    else:
        known, labels = load_dataset("dresses", **how), ("0", "1")
    if epsilon is not None:
        known = known.centred()
    if model != DRESS:
        train_party.from_here()
    features, classes = known.encoder.num_features, len(known.class_names)
    network = started(model_builder(model, features, classes), seed)
    check_scores(network, features, classes)
    start = get_arrays(network)
    counts = _counts(rows, len(parties))
    against: str | None = adversary or default_adversary(len(parties))
    private: dict[str, Any] = {}
    steps = math.ceil(max(counts) / BATCH_SIZE)
    rate = learning_rate or LEARNING_RATE
    if epsilon is not None:
        agreed = training_privacy(
            epsilon,
            delta,
            noise=noise,  # type: ignore[arg-type]  # checked where it is used
            rows=counts,
            rounds=rounds,
            spare_rounds=spare_rounds,
            expected_batch_size=batch,
            l2_clip_norm=clip_norm,
            per_id=per_id,
            dimension=sum(each.size for each in start.values()),
        )
        steps, rate = max(agreed.steps_per_round), learning_rate or defaults.PRIVATE_LEARNING_RATE
        private = {"privacy": privacy_settings(agreed)}
        if agreed.is_shared:
            roster = [each.identity for each in parties]
            against = share_parameters(agreed, roster).adversary
        elif noise == "central":
            against = "honest-server"
    made = make_plan(
        parties,
        listens,
        start=start,
        job=job,
        model=model,
        encoder=known.encoder.to_json(),
        labels=tuple(map(str, labels)),
        classes=tuple(map(str, known.class_names)),
        rounds=rounds,
        seed=seed,
        most_rows=max(counts),
        weighted=epsilon is None if weighted is None else weighted,
        clip_range=clip_range or adam_reach(steps, rate),
        adversary=against,
        loss=loss or ("sigmoid" if model == DRESS else "softmax"),
        learning_rate=rate,
        overlap=overlap,
        address=address,
        **private,
    )
    made.save(plan)
    _say(made)
    print(f"give {plan} to all; they compare the fingerprint by telephone")


@app.command()
def show(plan: PlanFile) -> None:
    """Say what a plan is: who, how long, against whom, and the fingerprint to compare."""
    from privfed.partner.plan import Plan

    _say(Plan.load(plan))


app.command()(train_party.serve)
app.command()(train_party.join)


def _party(given: str) -> PlanParty:
    """Return the party of NAME=CERTIFICATE or NAME=CERTIFICATE@HOST:PORT."""
    name, _, rest = given.partition("=")
    if not rest:
        raise ConfigError(f"--party {given}: give NAME=CERTIFICATE, such as guest=guest.crt")
    if Path(rest).is_file():
        return _member(name, Path(rest))
    file, _, address = rest.rpartition("@")
    return _member(name, Path(file or rest), address or None)


def _member(name: str, file: Path, address: str | None = None) -> PlanParty:
    from privfed.partner.plan import PlanParty
    from psi.network import load_certificate

    certificate = load_certificate(file).decode()
    return PlanParty(name=name, certificate=certificate, address=address)


def _counts(given: str, parties: int) -> tuple[int, ...]:
    """Return the rows of each party: one number is for all."""
    try:
        counts = tuple(int(each) for each in given.split(","))
    except ValueError:
        counts = ()
    if len(counts) == 1:
        counts *= parties
    if len(counts) != parties or min(counts) < 1:
        raise ConfigError(
            f"--rows {given}: give a number from 1 up, or one for each of {parties} parties"
        )
    return counts


def _say(plan: Plan) -> None:
    def who(member: PlanParty) -> str:
        return f"{member.name:12} {member.fingerprint}"

    print(f"plan     {plan.fingerprint.hex(':')}")
    print(f"job      {plan.job}: {plan.model}, {plan.rounds} rounds, at most {plan.most_rows} rows")
    print(f"against  {plan.adversary}")
    private = plan.private
    print(f"privacy  {'none' if private is None else private.statement()}")
    if plan.overlap != "none":
        print(f"overlap  {plan.overlap}")
    for each in plan.parties:
        print(f"party    {who(each)}")
    print(f"server   {who(plan.server)} at {plan.address}")
