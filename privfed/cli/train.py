"""`privfed train init` and `show`: the plan of companies that train together."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from privfed import defaults
from privfed.cli import train_party
from privfed.cli.own_code import from_here
from privfed.cli.train_party import MODEL_HELP, PlanFile
from privfed.cli.train_plan import (
    check_together,
    groups_of,
    known_columns,
    member,
    party_of,
    rows_of,
    say_plan,
)
from privfed.cli.typed import above_zero, host_port, one_of, part_name
from privfed.errors import ConfigError

app = typer.Typer(no_args_is_help=True, help="Train one model with other companies.")

_MODEL, _PRIVACY = "What is trained", "Differential privacy, with --epsilon"
_ENCRYPTION = "Encrypted averaging"


@app.command()
def init(
    context: typer.Context,
    plan: PlanFile,
    party: Annotated[
        list[str],
        typer.Option(
            help="NAME=CERTIFICATE of each party, in the order that all keep; with --overlap "
            "NAME=CERTIFICATE@HOST:PORT of all but the last."
        ),
    ],
    address: Annotated[
        str, typer.Option(help="HOST:PORT on which the server is reached.", callback=host_port)
    ],
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
    overlap: Annotated[
        str,
        typer.Option(
            help="What parties find out of the IDs that they share: none, counts, or rows, which "
            "the later of two takes out.",
            callback=one_of("none", "counts", "rows"),
        ),
    ] = "none",
    job: Annotated[
        str,
        typer.Option(help="Name of the training; another one begins anew.", callback=part_name),
    ] = "training",
    model: Annotated[str, typer.Option(help=MODEL_HELP, rich_help_panel=_MODEL)] = "dress",
    example: Annotated[
        Path | None,
        typer.Option(
            help="A table whose columns, categories and ranges all may know: they are in the plan. "
            "The dress study's public code table without it.",
            rich_help_panel=_MODEL,
        ),
    ] = None,
    label: Annotated[
        str | None, typer.Option(help="The label column of --example.", rich_help_panel=_MODEL)
    ] = None,
    ids: Annotated[
        str | None, typer.Option("--id", help="Its ID column, if any.", rich_help_panel=_MODEL)
    ] = None,
    schema: Annotated[
        Path | None,
        typer.Option(
            help="What columns are, as `privfed inspect --write` made it: it is in the plan, and "
            "no row is needed. Or with --example, to read that by.",
            rich_help_panel=_MODEL,
        ),
    ] = None,
    encoding: Annotated[
        str | None,
        typer.Option(
            help="How columns become features: codes, one each (the dresses), or onehot, one a "
            "category (a table of your own).",
            callback=one_of("codes", "onehot"),
            rich_help_panel=_MODEL,
        ),
    ] = None,
    loss: Annotated[
        str | None,
        typer.Option(
            help="How scores are judged: sigmoid, as in the dress study, or softmax; by the model "
            "without it.",
            callback=one_of("sigmoid", "softmax"),
            rich_help_panel=_MODEL,
        ),
    ] = None,
    learning_rate: Annotated[
        float | None,
        typer.Option(
            help="Adam's; 0.001, or 0.02 with --epsilon.",
            callback=above_zero,
            rich_help_panel=_MODEL,
        ),
    ] = None,
    seed: Annotated[
        int,
        typer.Option(min=0, help="Of weights, batches and dropout.", rich_help_panel=_MODEL),
    ] = 0,
    epsilon: Annotated[
        float | None,
        typer.Option(
            help="Train with differential privacy: ε over all rounds.",
            callback=above_zero,
            rich_help_panel=_PRIVACY,
        ),
    ] = None,
    delta: Annotated[
        float, typer.Option(help="δ of that ε.", rich_help_panel=_PRIVACY)
    ] = defaults.DELTA,
    noise: Annotated[
        str,
        typer.Option(
            help="shares: each party adds a share of it under encryption. local: each adds all of "
            "it. central: a server that is trusted with exact sums adds it.",
            callback=one_of("shares", "local", "central"),
            rich_help_panel=_PRIVACY,
        ),
    ] = "shares",
    per_id: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Protect all rows of one ID at all parties, at most so many at each; each row by "
            "itself without it.",
            rich_help_panel=_PRIVACY,
        ),
    ] = None,
    clip_norm: Annotated[
        float,
        typer.Option(
            help="Bound on one row's gradient.", callback=above_zero, rich_help_panel=_PRIVACY
        ),
    ] = defaults.L2_CLIP_NORM,
    batch: Annotated[
        int,
        typer.Option(
            min=1,
            help="Rows expected in a party's batch of a noisy step.",
            rich_help_panel=_PRIVACY,
        ),
    ] = defaults.EXPECTED_BATCH_SIZE,
    spare_rounds: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Rounds that are paid for beside --rounds, as a lost one is paid anew; one in "
            "twenty without it, and at least 3.",
            rich_help_panel=_PRIVACY,
        ),
    ] = None,
    groups: Annotated[
        str | None,
        typer.Option(
            help="Parties in each group of those who mask together, in their order, such as 3,4; "
            "as many groups as there can be without it.",
            rich_help_panel=_ENCRYPTION,
        ),
    ] = None,
    adversary: Annotated[
        str | None,
        typer.Option(
            help="Against whom it holds: lying-server+N, lying-server or honest-server; from three "
            "parties on lying-server+1 without it, else lying-server.",
            rich_help_panel=_ENCRYPTION,
        ),
    ] = None,
    weighted: Annotated[
        bool | None,
        typer.Option(
            help="Whether parties count by their rows, which stay hidden; they do, unless there "
            "is an --epsilon.",
            rich_help_panel=_ENCRYPTION,
        ),
    ] = None,
    clip_range: Annotated[
        float | None,
        typer.Option(
            help="Bound on an update's values; as far as Adam can go without it.",
            callback=above_zero,
            rich_help_panel=_ENCRYPTION,
        ),
    ] = None,
) -> None:
    """Write a plan from the parties' certificates; all compare its fingerprint.

    Whoever has all certificates runs it, and gives the plan to all. It is public: it holds no
    secret and no row.
    """
    from privfed.partner.models import started
    from privfed.partner.plan import make_plan, privacy_settings
    from privfed.partner.privacy import training_privacy
    from privfed.secagg.adversary import default_adversary
    from privfed.training import adam_reach, get_arrays, share_parameters
    from privfed.training.builders import DRESS, OURS, check_scores, model_builder
    from privfed.training.local import BATCH_SIZE, LEARNING_RATE

    check_together(context)
    parties = [party_of(each) for each in party]
    if len(parties) < 2:
        raise ConfigError("a training has two parties or more: give a --party for each")
    listens = parties[0] if server is None else member("server", server)
    counts = rows_of(rows, len(parties))
    encoder, labels, names = known_columns(example, schema, label, ids, encoding)
    encoder = replace(encoder, centred=epsilon is not None)
    if model not in OURS:
        from_here()
    features, classes = encoder.num_features, len(names)
    network = started(model_builder(model, features, classes), seed)
    check_scores(network, features, classes)
    start = get_arrays(network)
    against: str | None = adversary or default_adversary(len(parties))
    private: dict[str, Any] = {}
    steps = math.ceil(max(counts) / BATCH_SIZE)
    rates = defaults.PRIVATE_LEARNING_RATE
    usual_rate = LEARNING_RATE if epsilon is None else rates.get(model, rates[DRESS])
    rate = usual_rate if learning_rate is None else learning_rate
    if epsilon is not None:
        agreed = training_privacy(
            epsilon,
            delta,
            noise=noise,  # type: ignore[arg-type]  # checked as it was typed
            rows=counts,
            rounds=rounds,
            spare_rounds=spare_rounds,
            expected_batch_size=batch,
            l2_clip_norm=clip_norm,
            per_id=per_id,
            dimension=sum(each.size for each in start.values()),
        )
        steps = max(agreed.steps_per_round)
        private = {"privacy": privacy_settings(agreed)}
        if agreed.is_shared:
            roster = [each.identity for each in parties]
            against = share_parameters(agreed, roster).adversary
        elif noise == "central":
            against = "honest-server"
        if adversary not in (None, against):
            raise ConfigError(
                f"--adversary {adversary}: --noise {noise} of these parties is against {against}: "
                "leave it out"
            )
    made = make_plan(
        parties,
        listens,
        start=start,
        job=job,
        model=model,
        encoder=encoder.to_json(),
        labels=labels,
        classes=names,
        rounds=rounds,
        seed=seed,
        most_rows=max(counts),
        weighted=epsilon is None if weighted is None else weighted,
        clip_range=adam_reach(steps, rate) if clip_range is None else clip_range,
        adversary=against,
        group_sizes=None if groups is None else groups_of(groups),
        loss=loss or ("sigmoid" if model == DRESS else "softmax"),
        learning_rate=rate,
        overlap=overlap,
        address=address,
        **private,
    )
    made.save(plan)
    say_plan(made)
    print(f"give {plan} to all; they compare the fingerprint by telephone")


@app.command()
def show(plan: PlanFile) -> None:
    """Say what a plan is: who, how long, against whom, and the fingerprint to compare."""
    from privfed.partner.plan import Plan

    say_plan(Plan.load(plan))


app.command()(train_party.serve)
app.command()(train_party.join)
