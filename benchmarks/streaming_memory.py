"""Memory of the streaming driver over a long clip: python -m benchmarks.streaming_memory [--frames 5000] [--output DIR]

The network is simulated (tests/simulated_stream.py): what is measured is everything around it, from reading frames
to the finished scene on the disk. Writes a dated JSON with the resident memory after every chunk and a plot.
"""

import argparse
import json
import tempfile
from datetime import date
from pathlib import Path

import numpy as np

from dynamic_predictor.driver.scenes import scene_of_stream
from dynamic_predictor.driver.stream import StreamSettings, run_stream
from dynamic_predictor.driver.workspace import StreamWorkspace
from dynamic_predictor.place_recognition.descriptors import GradientDescriptor
from scene.folder import save_scene
from scene.formats.glb import write_glb
from scene.point_cloud import scene_points
from scene.trajectory import absolute_trajectory_error
from tests.simulated_stream import SPEC, SimulatedPredictor, SimulatedWalk, true_poses


def resident_mib() -> float:
    """Resident memory of this process (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


def measure(frames: int, width: int, height: int, chunk_size: int, overlap: int, folder: Path) -> dict:
    """Runs the whole way; returns figures and (stage, done, MiB) samples."""
    walk = SimulatedWalk(frames, lap=400, width=width, height=height)
    predictor = SimulatedPredictor(walk, creep=0.0002, bend=0.01, noise=0.01)
    predictor.calls = _Forgetful()
    samples: list[tuple[str, int, float]] = []

    def progress(stage: str, done: int, total: int) -> None:
        if done % 20 == 0 or stage in ("chunks", "loops"):
            samples.append((stage, done, resident_mib()))

    workspace = StreamWorkspace(folder / "stream", {}, resume=False)
    result = run_stream(
        walk,
        predictor,
        SPEC,
        workspace,
        StreamSettings(chunk_size=chunk_size, overlap=overlap),
        descriptor=GradientDescriptor(),
        progress=progress,
    )
    scene = scene_of_stream(result)
    save_scene(scene, folder / "scene", progress=progress)
    points = scene_points(scene, progress=progress)
    write_glb(folder / "scene" / "scene.glb", points, scene.cameras)
    samples.append(("writing the glb", 1, resident_mib()))
    truth = true_poses(walk, range(frames))

    def error(closed: bool) -> float:
        poses = np.stack([c.world_from_camera for c in scene_of_stream(result, closed=closed).cameras])
        return absolute_trajectory_error(poses, truth, alignment="sim3").rmse

    return {
        "frames": frames,
        "size": [width, height],
        "chunk_size": chunk_size,
        "overlap": overlap,
        "chunks": len(result.windows),
        "loops_accepted": sum(loop.accepted for loop in result.loops),
        "loops_looked_at": len(result.loops),
        "ate_rmse_before_loops": error(False),
        "ate_rmse": error(True),
        "peak_mib": max(sample[2] for sample in samples),
        "samples": samples,
    }


class _Forgetful(list):
    """A list of calls that keeps none: the simulation must not grow either."""

    def append(self, item) -> None:
        pass


def draw(figures: dict, path: Path) -> None:
    """Memory over the progress of each stage, one stage after the other."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.6), layout="constrained")
    axes = figure.add_subplot()
    samples = figures["samples"]
    stages = [stage for stage in dict.fromkeys(sample[0] for sample in samples) if stage != "reading frames"]
    for place, stage in enumerate(stages):
        chosen = [(done, mib) for name, done, mib in samples if name == stage]
        last = max(done for done, _ in chosen)
        along = [place + (done / last if len(chosen) > 1 else 0.5) for done, _ in chosen]
        axes.plot(along, [mib for _, mib in chosen], ".-", color="#d9663b", markersize=3 if len(chosen) > 1 else 8)
        axes.axvline(place + 1, color="#dddddd", linewidth=0.8)
    axes.set_xticks([place + 0.5 for place in range(len(stages))], stages, fontsize=8)
    axes.set(ylabel="resident memory, MiB", ylim=(0, max(figures["peak_mib"] * 1.15, 1)), xlim=(0, len(stages)))
    width, height = figures["size"]
    axes.set_title(
        f"{figures['frames']} frames of {width}x{height} in {figures['chunks']} chunks, network simulated",
        loc="left",
        fontsize=10,
    )
    axes.grid(alpha=0.2, axis="y")
    figure.savefig(path, dpi=130)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=5000)
    parser.add_argument("--width", type=int, default=168)
    parser.add_argument("--height", type=int, default=98)
    parser.add_argument("--chunk-size", type=int, default=60)
    parser.add_argument("--overlap", type=int, default=20)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="stillsplat-stream-") as folder:
        figures = measure(
            options.frames, options.width, options.height, options.chunk_size, options.overlap, Path(folder)
        )
    options.output.mkdir(parents=True, exist_ok=True)
    stem = options.output / f"{date.today().isoformat()}-streaming-memory"
    draw(figures, stem.with_suffix(".png"))
    kept = [*figures["samples"][::4], figures["samples"][-1]]
    figures["samples"] = [[stage, done, round(mib, 1)] for stage, done, mib in kept]
    stem.with_suffix(".json").write_text(json.dumps(figures, indent=1) + "\n")
    print({key: value for key, value in figures.items() if key != "samples"})


if __name__ == "__main__":
    main()
