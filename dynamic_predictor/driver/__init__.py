"""From a source of frames to a scene: intake, chunks, stitching, loop closure, motion stage."""
