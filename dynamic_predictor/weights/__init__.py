"""Official weights: which files there are (`registry`), where they are looked for (`finding`), reading them safely
(`reading`), matching their keys with a network (`keys`), fetching (`fetching`) and checking (`checking`) them.

Kept free of imports: the command line lists weights without loading torch.
"""
