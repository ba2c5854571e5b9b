"""Scores of plates against scenes with complete truth.

    python benchmarks/plates.py SCENE=RUN ...     # a truth scene, and the folder of a finished run with a plate

PSNR in dB of plate/ (PNG) and renders/ against clean/: over all pixels; over pixels behind movers whose background at
least three frames see; over shadows of movers; and, behind movers, over what the run calls invented and what it does
not. Then the share of the movers that the matte leaves in, and of the static pixels that it takes; and of shadows/ the
share of the true shadow pixels that it has (of those that are darker by a fifth at least), and the share of it that
shows an object or what no shadow changes.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from gaussian.metrics import psnr, psnr_static  # noqa: E402
from scene.frames import list_images  # noqa: E402
from scene.images import read_image  # noqa: E402
from scene.truth import TruthScene  # noqa: E402

#: frames that must see what is behind a mover
_SEEN_IN = 3
COLUMNS = (
    "whole",
    "behind",
    "shadow",
    "fetched",
    "invented",
    "render whole",
    "render behind",
    "left in %",
    "taken %",
    "shadow found %",
    "shadow false %",
)
#: share of the clean value below which a shadow is dark
_DARK = 0.8


def scores(truth: TruthScene, run: Path) -> dict[str, float]:
    """The mean of each of the `COLUMNS` over the frames that have it."""
    plates, renders, mattes, shadows, invented = (
        list_images(run / name) if (run / name).is_dir() else []
        for name in ("plate", "renders", "mattes", "shadows", "invented")
    )
    if not len(plates) == len(renders) == len(mattes) == len(truth):
        raise SystemExit(f"{run} has {len(plates)} frames of a plate and {len(renders)} renders for {len(truth)}.")
    found: dict[str, list[float]] = {name: [] for name in COLUMNS}
    # pixels of all frames: shadows that were found and all; what is wrongly called shadow and all that is
    dark, wrong = np.zeros(2), np.zeros(2)
    for index in range(len(truth)):
        clean, mask, seen = truth.clean(index), truth.mask(index), truth.seen(index)
        if clean is None or mask is None or seen is None:
            continue
        reference = clean.astype(np.float32) / 255
        plate, render = (read_image(paths[index]).astype(np.float32) / 255 for paths in (plates, renders))
        if plate.shape != reference.shape or render.shape != reference.shape:
            raise SystemExit(f"{run} has another size than its truth.")
        replaced = read_image(mattes[index])[..., 0] > 127
        made_up = read_image(invented[index])[..., 0] > 127
        shadow = truth.shadow(index)
        behind = mask & (seen >= _SEEN_IN)
        over: dict[str, np.ndarray | None] = {
            "behind": behind,
            "shadow": shadow,
            "fetched": mask & ~made_up,
            "invented": mask & made_up,
        }
        found["whole"].append(psnr(plate, reference))
        found["render whole"].append(psnr(render, reference))
        found["render behind"].append(psnr_static(render, reference, behind))
        for name, pixels in over.items():
            if pixels is not None and pixels.any():
                found[name].append(psnr_static(plate, reference, pixels))
        static = ~mask if shadow is None else ~mask & ~shadow
        found["left in %"].append(100 * float((mask & ~replaced).sum() / max(1, mask.sum())))
        found["taken %"].append(100 * float((static & replaced).sum() / max(1, static.sum())))
        rgb = truth.rgb(index)
        if shadow is not None and rgb is not None and shadows:
            called = read_image(shadows[index])[..., 0] > 127
            darker = rgb.astype(np.float32).mean(axis=-1) < _DARK * clean.astype(np.float32).mean(axis=-1)
            dark += np.array([(called & shadow & darker).sum(), (shadow & darker).sum()])
            wrong += np.array([(called & ~shadow).sum(), called.sum()])
    found["shadow found %"] = [100 * dark[0] / dark[1]] if dark[1] else []
    found["shadow false %"] = [100 * wrong[0] / wrong[1]] if wrong[1] else []
    return {name: float(np.nanmean(values)) if values else float("nan") for name, values in found.items()}


def print_table(rows: dict[str, dict[str, float]], show: Callable[[str], None] = print) -> None:
    """One line per scene."""
    show(" ".join([f"{'scene':16s}", *(f"{name:>14s}" for name in COLUMNS)]))
    for name, values in rows.items():
        show(" ".join([f"{name:16s}", *(f"{values[column]:14.2f}" for column in COLUMNS)]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", nargs="+", metavar="SCENE=RUN", help="folder with truth = folder of a run")
    rows = {}
    for pair in parser.parse_args().pairs:
        scene, _, run = pair.partition("=")
        rows[Path(scene).name] = scores(TruthScene(scene), Path(run))
    print_table(rows)


if __name__ == "__main__":
    main()
