"""Building blocks shared by the networks of several predictors.

Parameters are named as in the published checkpoints of those networks (`attn.qkv.weight`, `mlp.fc1.weight`,
`ls1.gamma`, `resConfUnit1.conv1.weight`), so that the files load without a table of names.
"""
