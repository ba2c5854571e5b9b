"""Scores of predicted cameras, depth, masks and surfaces against truth."""
