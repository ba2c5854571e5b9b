"""Many clips through `stillsplat.reconstruct`: each in a run folder of its own, some of them at the same time."""
