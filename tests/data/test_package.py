"""The room's public names, and a document that cannot drift from the code table."""

from __future__ import annotations

import subprocess
import sys
from itertools import groupby

import privfed.data
from privfed.data import DRESSES
from tests.places import DOCS

PAGE = DOCS / "data.md"


def test_exports_are_pinned() -> None:
    assert privfed.data.__all__ == [
        *("DRESSES", "Align", "CategoricalColumn", "Change", "CleaningReport", "ColumnReading"),
        *("Dataset", "Dealing", "Encoder", "Encoding", "Notation", "NumericColumn", "Owners"),
        *("Pair", "PartyRows", "SalesTable", "Schema", "SchemaFile", "Split", "TableReading"),
        *(
            "inspect_table",
            "load_dataset",
            "load_dresses",
            "load_own_parties",
            "load_pair",
            "parse_sales",
            "party_names",
            "read_new_rows",
            "read_sales",
        ),
        *("schema_text", "split_parties", "surrogate_tables"),
    ]
    assert all(hasattr(privfed.data, name) for name in privfed.data.__all__)


def test_data_needs_neither_torch_nor_what_compiles_psi() -> None:
    code = "import sys, privfed.data; sys.exit(bool({'torch', 'numba'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_document_shows_the_code_table() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for column, rows in groupby(DRESSES.code_table(), key=lambda row: row[0]):
        codes = []
        for _, code, meaning, spellings in rows:
            further = ", ".join(f"`{spelling}`" for spelling in spellings)
            codes.append(f"{code} {meaning}" + (f" ({further})" if further else ""))
        assert f"| {column} | {' · '.join(codes)} |" in text
