"""One world for predictions of overlapping chunks: windows, alignment, pose graph, loops."""
