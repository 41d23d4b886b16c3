"""Boosted trees on two companies' columns."""
