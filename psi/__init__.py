"""Private set intersection: align rows without revealing the others."""
