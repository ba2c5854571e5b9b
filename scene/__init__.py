"""The data that all packages exchange: frames, cameras, motion masks and depth, with their files and formats.

Everything above (predictors, splat optimizer, command line) imports this package; it imports none of them.
"""
