#!/usr/bin/env bash
# Installs what is needed and makes a clean static scene out of the small clip in data/sample. Arguments go to
# `stillsplat run`. The output of an earlier demo is replaced.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash scripts/setup.sh

out=results/demo
rm -rf "$out"
# Fewer iterations than by default, so that a demo does not keep people waiting.
.venv/bin/stillsplat run data/sample/rgb -o "$out" --iterations 2500 "$@"
.venv/bin/stillsplat evaluate "$out" --truth data/sample

cat <<END

Done. Look at
  $PWD/$out/report.html   pictures, camera path, curves, scores: open it in a browser
  $PWD/$out/compare.mp4   input, what moves, static render, side by side
  $PWD/$out/clean.mp4     the clip without the moving things
  $PWD/$out/splats.ply    the scene: drop it into a splat viewer such as SuperSplat
  $PWD/$out/metrics.json  all scores
END
