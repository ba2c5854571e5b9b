#!/usr/bin/env bash
# rendering.sh DATASET [CLIP...] [OPTION...]: optimizes clips on all their frames and renders images and videos along
# the camera path. Without clips: the published ones. Repeat it to continue after a stop.
# Options go to stillsplat batch: --data DIR says where the clips are, --jobs N how many run at the same time.
# There are no plates unless --plate is given.
# ITERATIONS=5000 and OUT=folder change the defaults; RESULTS=folder uses the scenes in it, of launch.py for example.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash scripts/setup.sh

dataset=${1:?Name the data set: davis or sintel}
shift
source scripts/batch_arguments.sh
iterations=${ITERATIONS:-4000}
if [ -z "${RESULTS:-}" ]; then
    arguments=(--frames 0:50 --max-size 512 ${arguments[@]+"${arguments[@]}"}) # as published; scenes have theirs
fi
exec .venv/bin/stillsplat batch "$dataset" -o "${OUT:-results/${dataset}_rendering_$iterations}" \
    --no-plate --iterations "$iterations" ${arguments[@]+"${arguments[@]}"}
