"""From tables to encoded rows, and to each party's share of them. See docs/data.md."""

from privfed.data.cleaning import Change, CleaningReport
from privfed.data.codebook import DRESSES
from privfed.data.dataset import Dataset
from privfed.data.dealing import Dealing
from privfed.data.dresses import load_dresses
from privfed.data.encoding import Encoder, Encoding, read_new_rows
from privfed.data.notation import Notation
from privfed.data.own_parties import load_own_parties
from privfed.data.owners import Owners
from privfed.data.pairs import Pair, load_pair
from privfed.data.partition import Align, PartyRows, Split, party_names, split_parties
from privfed.data.sales import SalesTable, parse_sales, read_sales
from privfed.data.schema import CategoricalColumn, NumericColumn, Schema
from privfed.data.schema_file import SchemaFile, schema_text
from privfed.data.sources import load_dataset
from privfed.data.surrogate import surrogate_tables
from privfed.data.tables import TableReading, inspect_table
from privfed.data.understanding import ColumnReading

__all__ = [
    "DRESSES",
    "Align",
    "CategoricalColumn",
    "Change",
    "CleaningReport",
    "ColumnReading",
    "Dataset",
    "Dealing",
    "Encoder",
    "Encoding",
    "Notation",
    "NumericColumn",
    "Owners",
    "Pair",
    "PartyRows",
    "SalesTable",
    "Schema",
    "SchemaFile",
    "Split",
    "TableReading",
    "inspect_table",
    "load_dataset",
    "load_dresses",
    "load_own_parties",
    "load_pair",
    "parse_sales",
    "party_names",
    "read_new_rows",
    "read_sales",
    "schema_text",
    "split_parties",
    "surrogate_tables",
]
