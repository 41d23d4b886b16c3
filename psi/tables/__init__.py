"""Tables become columns of keys: files, missing values, normalisation, repeated IDs."""

from psi.tables.files import read_parquet
from psi.tables.reader import TableReader

__all__ = ["TableReader", "read_parquet"]
