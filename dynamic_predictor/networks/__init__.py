"""Building blocks that the networks of two or more predictors share.

Parameters are named as in the checkpoints that the authors of those networks publish (`attn.qkv.weight`,
`mlp.fc1.weight`, `ls1.gamma`, `resConfUnit1.conv1.weight`), so that the files load without a table of names.
"""
