"""Commands that need nobody else: `psi align` and `psi keygen`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from psi.cli import options
from psi.cli.passphrases import new_passphrase
from psi.cli.shared import check_files, load, messages, progress_bar, steps_of
from psi.cli.summaries import write_summary
from psi.defaults import CERTIFICATE_DAYS, DUPLICATES
from psi.protocols.choice import AUTO

if TYPE_CHECKING:
    from psi.tables.keys import Duplicates

__all__ = ["align", "keygen"]


def align(
    left: options.TableFile,
    right: options.TableFile,
    on: options.On,
    out: options.Out = None,
    force: options.Force = False,
    duplicates: options.Policy = DUPLICATES,
    normalise: options.Steps = None,
    rows: options.Rows = False,
    protocol: options.Protocol = AUTO,
    summary: options.Summary = None,
) -> None:
    """Put the rows of two files side by side whose IDs both have, and no other row."""
    from psi.sessions.alignment import align as align_tables
    from psi.tables.files import joined, taken, write_table

    check_files(out, force=force, tables=[left, right])
    check_files(summary, force=force, tables=[], others=[left, right, out])
    with progress_bar() as progress:
        tables = load(left, progress), load(right, progress)
        found = align_tables(
            *tables,
            on=on,
            duplicates=cast("Duplicates", duplicates),
            normalise=steps_of(normalise),
            protocol=protocol,
            progress=progress,
        )
        progress("writing", 0, 0)
        if rows:
            columns = {"left_row": found.left_rows, "right_row": found.right_rows}
        else:
            sides = taken(tables[0], found.left_rows), taken(tables[1], found.right_rows)
            columns = joined(*sides, on)
        if out is not None:
            write_table(out, columns, replace=force)
    if out is None:  # no bar between the lines
        write_table(out, columns)
    messages.print(
        f"{len(found.left_rows)} matching rows by {found.protocol}, "
        f"{found.bytes_exchanged} bytes exchanged" + (f"; {found.reason}" if found.reason else "")
    )
    write_summary(
        summary,
        protocol=found.protocol,
        reason=found.reason,
        rows=list(found.rows),
        matched=len(found.left_rows),
        sent=found.bytes_exchanged,
        received=found.bytes_exchanged,
        replace=force,
    )


def keygen(
    name: Annotated[Path, typer.Argument(help="Writes NAME.key and NAME.crt.")],
    days: Annotated[
        int, typer.Option(help="How long the certificate is valid.")
    ] = CERTIFICATE_DAYS,
    passphrase_file: options.PassphraseFile = None,
    unlocked: options.Unlocked = False,
) -> None:
    """Make the key and the certificate by which the others know this side."""
    from psi.network.certificates import create_identity

    passphrase = new_passphrase(passphrase_file, unlocked=unlocked)
    print(f"SHA-256 {create_identity(name, days=days, passphrase=passphrase, unlocked=unlocked)}")
    messages.print(
        f"keep {name}.key; give {name}.crt to the other side and compare the fingerprint by "
        "telephone"
    )
