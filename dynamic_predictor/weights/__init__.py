"""Official weights: the known files (`registry`, `entry`), finding them on this machine (`finding`), reading them
safely (`reading`), matching their keys with a network's (`keys`), downloading (`fetching`), checking (`checking`).

This module imports nothing, so that the command line can list weights without loading torch.
"""
