"""Scorecards: weight of evidence and information value of the host's columns, under noise."""
