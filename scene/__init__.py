"""The one thing that flows through the project: frames, cameras, motion masks and depth.

Everything above (predictors, splat optimizer, command line) imports this package; it imports none of them.
"""
