"""Scores of predicted cameras, depth maps, motion masks and surfaces against the truth."""
