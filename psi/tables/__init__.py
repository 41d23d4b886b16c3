"""Tables become columns of keys: files, missing values, normalisation, repeated IDs."""
