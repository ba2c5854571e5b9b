#!/usr/bin/env bash
# rendering.sh DATASET [CLIP...]: optimizes each scene in results/DATASET on all its frames and renders images and
# videos along the camera path to results/DATASET_rendering_4000. Finished scenes are skipped. ITERATIONS=5000 and
# RESULTS=folder/of/scenes change the defaults.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash scripts/setup.sh

dataset=${1:?Name the data set: davis or sintel}
shift
iterations=${ITERATIONS:-4000}
results=${RESULTS:-results/$dataset}
models=${results}_rendering_$iterations
if [ $# -eq 0 ]; then
    for scene in "$results"/*/; do
        if [ -e "$scene/scene.json" ] || [ -e "$scene/pred_traj.txt" ]; then
            set -- "$@" "$(basename "$scene")"
        fi
    done
fi
if [ $# -eq 0 ]; then
    echo "$results holds no scenes; create them:" >&2
    echo "    python dynamic_predictor/launch.py --mode=eval_pose --eval_dataset=$dataset --output_dir=$results" >&2
    exit 2
fi

failed=()
for clip in "$@"; do
    model=$models/$clip
    if [ -e "$model/renders/interpolated.mp4" ]; then
        continue
    fi
    echo "== $clip"
    if [ ! -e "$model/point_cloud/iteration_$iterations/point_cloud.ply" ] &&
        ! .venv/bin/python train_gui.py -s "$results/$clip" -m "$model" --iter "$iterations" --resume; then
        failed+=("$clip")
        continue
    fi
    .venv/bin/python render.py -m "$model" --get_video || failed+=("$clip")
done
echo "Renders are in $models"
if [ ${#failed[@]} -gt 0 ]; then
    echo "Failed: ${failed[*]}" >&2
    exit 1
fi
