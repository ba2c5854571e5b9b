"""Official weights: the known files (`registry`, `entry`), finding them on this machine (`finding`), reading them
safely (`reading`), matching their keys with those of a network (`keys`), downloading (`fetching`) and checking
(`checking`).

This module imports nothing, so that the command line can list weights without loading torch.
"""
