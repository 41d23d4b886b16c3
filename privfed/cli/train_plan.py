"""A plan of companies that train together: read from what is typed, and said on a screen."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import typer

from privfed import defaults
from privfed.cli.typed import host_port, part_name
from privfed.errors import ConfigError

if TYPE_CHECKING:
    from privfed.data import Encoder, Encoding
    from privfed.partner.plan import Plan, PlanParty

_PARTNERS = "a training of companies"
_GO_WITH = {  # options that say nothing by themselves
    "epsilon": ("delta", "noise", "per_id", "clip_norm", "batch", "spare_rounds"),
    "example": ("label", "ids"),
}


def check_together(context: typer.Context) -> None:
    """Refuse options that would have no effect: who gives --noise believes that there is some.

    Raises:
        ConfigError: Names them.
    """
    given = {
        name
        for name in context.params
        if (source := context.get_parameter_source(name)) and source.name == "COMMANDLINE"
    }
    options = {each.name: each.opts[0] for each in context.command.params}
    for leads, others in _GO_WITH.items():
        alone = [options[each] for each in others if each in given]
        if alone and leads not in given:
            raise ConfigError(f"{alone[0]} has no effect without {options[leads]}: give both")
    private = "epsilon" in given
    if private and "clip_range" in given and context.params["noise"] != "local":
        raise ConfigError("--clip-range bounds averages, and sums with noise travel: leave it out")
    if private and context.params["weighted"]:
        raise ConfigError("--weighted: with --epsilon parties do not count by their rows")


def known_columns(
    example: Path | None,
    schema: Path | None,
    label: str | None,
    ids: str | None,
    encoding: str | None,
) -> tuple[Encoder, tuple[str, ...], tuple[str, ...]]:
    """Return how rows become features, what label cells say, and what the classes are called.

    Raises:
        ConfigError: The example or the schema file cannot be used.
    """
    from privfed.data import Encoder, SchemaFile, load_dataset

    chosen = cast("Encoding | None", encoding)
    if example is not None:
        rows = load_dataset(
            "table", example, encoding=chosen, label=label, id_column=ids, schema=schema
        )
        rows.require_classes(_PARTNERS)
        return rows.encoder, rows.class_names, rows.class_names
    if schema is None:
        rows = load_dataset("dresses", encoding=chosen)
        return rows.encoder, ("0", "1"), rows.class_names
    file = SchemaFile.load(schema)
    file.require_classes(_PARTNERS)
    if len(file.classes) < 2:
        raise ConfigError(
            f"--schema {schema} names no classes: give its label a line categories = [...], or "
            "give --example, too"
        )
    return Encoder(file.schema(), chosen or defaults.OWN_ENCODING), file.classes, file.classes


def party_of(given: str) -> PlanParty:
    """Return the party of NAME=CERTIFICATE or NAME=CERTIFICATE@HOST:PORT.

    Raises:
        ConfigError: It is something else, or the file holds no certificate.
    """
    name, _, rest = given.partition("=")
    if not rest:
        raise ConfigError(f"--party {given}: give NAME=CERTIFICATE, such as guest=guest.crt")
    try:
        part_name(name)
        if Path(rest).is_file():
            return member(name, Path(rest))
        file, _, address = rest.rpartition("@")
        return member(name, Path(file or rest), host_port(address) if file else None)
    except typer.BadParameter as error:
        raise ConfigError(f"--party {given}: {error.message}") from None


def member(name: str, file: Path, address: str | None = None) -> PlanParty:
    """Return a party, or the server, with the certificate in a file."""
    from privfed.partner.plan import PlanParty
    from psi.network import load_certificate

    certificate = load_certificate(file).decode()
    return PlanParty(name=name, certificate=certificate, address=address)


def rows_of(given: str, parties: int) -> tuple[int, ...]:
    """Return the rows of each party: one number is for all.

    Raises:
        ConfigError: There are others.
    """
    try:
        counts = tuple(int(each) for each in given.split(","))
    except ValueError:
        counts = ()
    if len(counts) == 1:
        counts *= parties
    if len(counts) != parties or min(counts, default=0) < 1:
        raise ConfigError(
            f"--rows {given}: give a number from 1 up, or one for each of {parties} parties"
        )
    return counts


def groups_of(given: str) -> tuple[int, ...]:
    """Return the parties in each group.

    Raises:
        ConfigError: These are no numbers.
    """
    try:
        return tuple(int(each) for each in given.split(","))
    except ValueError:
        raise ConfigError(
            f"--groups {given}: give the parties of each group, such as 3,4"
        ) from None


def say_plan(plan: Plan) -> None:
    """Print what a plan is."""

    def who(member: PlanParty) -> str:
        return f"{member.name:12} {member.fingerprint}"

    print(f"plan     {plan.fingerprint.hex(':')}")
    print(f"job      {plan.job}: {plan.model}, {plan.rounds} rounds, at most {plan.most_rows} rows")
    for line in _columns(plan, plan.encoder_of_rows()):
        print(line)
    groups = plan.parameters().group_sizes
    masked = f", in groups of {', '.join(map(str, groups))}" if groups else ""
    print(f"against  {plan.adversary}{masked}")
    private = plan.private
    if plan.method == "averages":
        counts = "count by their rows, which stay hidden" if plan.weighted else "count alike"
        print(f"updates  at most {plan.clip_range:g} in each value; parties {counts}")
    print(f"privacy  {'none' if private is None else private.statement()}")
    if plan.overlap != "none":
        print(f"overlap  {plan.overlap}")
    for each in plan.parties:
        where = "" if each.address is None else f" at {each.address}"
        print(f"party    {who(each)}{where}")
    print(f"server   {who(plan.server)} at {plan.address}")


def _columns(plan: Plan, encoder: Encoder) -> list[str]:
    """Say which columns a table needs."""
    schema = encoder.schema
    said = [f"columns  {', '.join(each.name for each in schema.columns)}"]
    said.append(f"label    {schema.label_column}: {', '.join(plan.labels)}")
    if schema.id_column is not None:
        said.append(f"ID       {schema.id_column}")
    return said
