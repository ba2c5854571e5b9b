"""Bringing estimates of parts of a clip into one world: pair graphs, global alignment, chunks and loops."""
