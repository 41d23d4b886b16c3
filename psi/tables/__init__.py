"""Tables become columns of keys: files, missing values, normalisation, repeated IDs."""

from psi.tables.reader import TableReader

__all__ = ["TableReader"]
