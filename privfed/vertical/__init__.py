"""Vertical learning: two companies, one linear model, nobody's columns shown."""
