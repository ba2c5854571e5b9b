#!/usr/bin/env bash
# testing_psnr.sh DATASET [CLIP...]: optimizes each scene in results/DATASET without every tenth frame and scores
# these frames, by DAS3R's protocol. Writes tables with published figures to results/DATASET_testing_psnr_4000.
# Finished scenes are skipped. ITERATIONS=5000 and RESULTS=folder/of/scenes change the defaults.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash scripts/setup.sh

dataset=${1:?Name the data set: davis or sintel}
shift
exec .venv/bin/python -m stillsplat.scores.held_out_psnr --eval_dataset "$dataset" --results "${RESULTS:-results/$dataset}" \
    --iterations "${ITERATIONS:-4000}" ${1:+--clips "$@"}
