"""Tables become columns of keys: files, missing values, normalisation, repeated IDs."""

from psi.tables.csvrows import csv_rows

__all__ = ["csv_rows"]
