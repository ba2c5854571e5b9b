#!/usr/bin/env bash
# testing_psnr.sh DATASET [CLIP...] [OPTION...]: runs clips without every tenth frame, scores these frames by DAS3R's
# protocol, and prints its table with ours. Without clips: the published ones. Repeat it to continue after a stop.
# Options go to stillsplat batch: --data DIR says where the clips are, --jobs N how many run at the same time.
# There are no plates (scores do not need them) unless --plate is given.
# ITERATIONS=5000 and OUT=folder change the defaults; RESULTS=folder uses the scenes in it, of launch.py for example.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash scripts/setup.sh

dataset=${1:?Name the data set: davis or sintel}
shift
source scripts/batch_arguments.sh
iterations=${ITERATIONS:-4000}
exec .venv/bin/stillsplat batch "$dataset" -o "${OUT:-results/${dataset}_testing_psnr_$iterations}" \
    --protocol das3r --no-plate --iterations "$iterations" ${arguments[@]+"${arguments[@]}"}
