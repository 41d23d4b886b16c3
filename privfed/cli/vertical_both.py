"""Both companies of a vertical training on one machine: two processes, one report."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from privfed.cli.asked import check_new_folder
from privfed.cli.two_processes import in_two_processes
from privfed.cli.vertical_outcome import leave
from privfed.cli.vertical_party import schema_in
from privfed.data.files import frame_sha256, read_text_table
from privfed.data.pairs import Pair
from privfed.errors import ConfigError
from privfed.records import RESULTS_FILE
from privfed.vertical.company import CompanyTable
from privfed.vertical.job import PartnerLine, do_job
from privfed.vertical.results import UsedTable
from privfed.vertical.training import MEMORY_BYTES, VerticalJob
from psi.network import Progress

if TYPE_CHECKING:
    from privfed.vertical.outcome import KnownHalf
    from privfed.vertical.terms import OwnChoice, VerticalChoice


@dataclass(frozen=True, kw_only=True)
class BothTables:
    """Two tables of one run, and what in them is what."""

    guest: CompanyTable
    host: CompanyTable
    names: tuple[str, str]
    files: tuple[UsedTable, UsedTable]
    source: str = ""
    family: str | None = None

    @classmethod
    def taken(
        cls,
        guest: Path | None,
        host: Path | None,
        ids: list[str],
        label: str | None,
        pair: Callable[[], Pair],
        *,
        normalise: str | None,
        duplicates: str,
        schemas: tuple[Path | None, Path | None] = (None, None),
    ) -> BothTables:
        """Return the tables that are named, or a pair that has a name.

        Raises:
            ConfigError: One table is given without the other, or its columns are not named.
        """
        repeated = cast("Literal['error', 'first']", duplicates)
        if guest is None and host is None:
            if ids or label:
                raise ConfigError("--id and --label belong to --guest and --host")
            return cls.of_pair(pair())
        if guest is None or host is None:
            raise ConfigError("give both tables: --guest and --host")
        if not ids or label is None:
            raise ConfigError("name the column of the ID, --id, and of the labels, --label")
        read = [read_text_table(path) for path in (guest, host)]
        if label in read[1].frame.columns:
            raise ConfigError(
                f"column {label!r} is in both tables: the host has no labels, take it out there"
            )
        return cls(
            guest=CompanyTable(
                role="guest", frame=read[0].frame, id_columns=tuple(ids), label=label,
                normalise=normalise, duplicates=repeated,
                schema=schema_in(schemas[0], read[0].frame, guest, label),
            ),
            host=CompanyTable(
                role="host", frame=read[1].frame, id_columns=tuple(ids), normalise=normalise,
                duplicates=repeated, schema=schema_in(schemas[1], read[1].frame, host, None),
            ),
            names=("guest", "host"),
            files=(UsedTable(guest.name, read[0].sha256), UsedTable(host.name, read[1].sha256)),
        )  # fmt: skip

    @classmethod
    def of_pair(cls, pair: Pair) -> BothTables:
        """Return the tables of a pair; of an ID that repeats, the first row."""
        steps = None if pair.normalise == "exact" else pair.normalise
        return cls(
            guest=CompanyTable(
                role="guest", frame=pair.guest, id_columns=(pair.guest_id,), label=pair.label,
                normalise=steps, duplicates="first",
            ),
            host=CompanyTable(
                role="host", frame=pair.host, id_columns=(pair.host_id,), normalise=steps,
                duplicates="first",
            ),
            names=(pair.guest_name, pair.host_name),
            files=(
                UsedTable(pair.guest_name, frame_sha256(pair.guest)),
                UsedTable(pair.host_name, frame_sha256(pair.host)),
            ),
            source=pair.source,
            family=pair.family,
        )  # fmt: skip


def play_both(
    tables: BothTables,
    choice: VerticalChoice,
    out: Path,
    *,
    own: tuple[OwnChoice | None, OwnChoice | None] = (None, None),
    memory_bytes: int = MEMORY_BYTES,
) -> None:
    """Train as two processes over a connection, and write each half and one report.

    Args:
        tables: What both bring.
        choice: What both choose.
        out: A folder, which may be new.
        own: What the guest chooses for itself, and the host.
        memory_bytes: As of `VerticalJob`.

    Raises:
        ConfigError: A table cannot train, or the folder is taken.
    """
    if (out / RESULTS_FILE).exists():
        raise ConfigError(f"--out {out} holds results already: give another folder")
    check_new_folder(out)
    if tables.family is not None and tables.family != choice.family:
        raise ConfigError(f"this pair's labels are of --family {tables.family}")
    for table in (tables.guest, tables.host):  # before one waits for the other
        _ = table.labels(choice.family, many=choice.many_classes)
    tables = replace(
        tables,
        guest=replace(tables.guest, schema=tables.guest.described),
        host=replace(tables.host, schema=tables.host.described),
    )
    with tempfile.TemporaryDirectory() as folder:
        guest, host = in_two_processes(
            _job,
            [
                VerticalJob(
                    table=table, name=name, file=file, choice=choice, out=out / name,
                    unfinished=Path(folder, f"{name}.json"), own=chosen, memory_bytes=memory_bytes,
                )
                for table, name, file, chosen in zip(
                    (tables.guest, tables.host), tables.names, tables.files, own, strict=True
                )
            ],
            tables.names,
        )  # fmt: skip
    leave(guest.results_with(host, source=tables.source), out)


def _job(job: VerticalJob, line: PartnerLine, progress: Progress) -> KnownHalf:
    return do_job(job, line, progress=progress)
