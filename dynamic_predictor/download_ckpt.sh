#!/bin/sh
# What replaces DAS3R's dynamic_predictor/download_ckpt.sh.
echo "Weights are downloaded by: stillsplat weights get das3r (stillsplat weights lists them); nothing needs RAFT's." >&2
exit 2
