"""The group of all protocols, ristretto255, and what is built on it alone."""
