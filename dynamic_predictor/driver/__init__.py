"""From a source of frames to a scene: intake, chunks, motion stage."""
