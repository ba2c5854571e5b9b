"""Clips as people have them: which files are opened, and how their colors, fields and animation are decoded."""
