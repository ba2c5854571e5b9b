"""Outside formats of cameras, points and scenes: one file per format, each converting at its own border."""
