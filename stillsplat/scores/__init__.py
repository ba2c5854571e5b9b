"""Scores of runs: without truth, against truth, on held-out frames."""
