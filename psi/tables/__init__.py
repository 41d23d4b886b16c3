"""What holds a table becomes columns of keys: files, missing values, normalisation, repeats."""
