"""Memory of the streaming driver over a long clip: python -m benchmarks.streaming_memory [--frames 5000] [--output DIR]

The network is simulated (benchmarks/simulated_stream.py): what is measured is everything around it, from reading frames
to the finished scene on the disk. Writes a dated JSON with the resident memory after every chunk and a plot.
"""

import argparse
import json
import tempfile
import time
from datetime import date
from pathlib import Path

import numpy as np

from benchmarks.simulated_stream import SimulatedPredictor, SimulatedWalk, true_poses
from dynamic_predictor.alignment.loop_closure import GradientDescriptor
from dynamic_predictor.streaming.stream import StreamSettings, run_stream
from dynamic_predictor.streaming.stream_scene import scene_of_stream
from dynamic_predictor.streaming.workspace import StreamWorkspace
from scene.folder import save_scene
from scene.formats.glb import write_glb
from scene.point_cloud import scene_points
from scene.trajectory import absolute_trajectory_error


def resident_mib() -> float:
    """Resident memory of this process (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


def measure(frames: int, width: int, height: int, chunk_size: int, overlap: int, folder: Path) -> dict:
    """Runs the whole way; returns figures and (seconds, stage, done, MiB) samples."""
    walk = SimulatedWalk(frames, lap=400, width=width, height=height)
    predictor = SimulatedPredictor(walk, creep=0.0002, bend=0.01, noise=0.01)
    predictor.calls = _Forgetful()
    samples: list[tuple[float, str, int, float]] = []
    begin = time.perf_counter()

    def progress(stage: str, done: int, total: int) -> None:
        if done % 20 == 0 or stage in ("chunks", "loops"):
            samples.append((time.perf_counter() - begin, stage, done, resident_mib()))

    workspace = StreamWorkspace(folder / "stream", {}, resume=False)
    result = run_stream(
        walk,
        predictor,
        workspace,
        StreamSettings(chunk_size=chunk_size, overlap=overlap),
        descriptor=GradientDescriptor(),
        progress=progress,
    )
    scene = scene_of_stream(result)
    save_scene(scene, folder / "scene", progress=progress)
    points = scene_points(scene, progress=progress)
    write_glb(folder / "scene" / "scene.glb", points, scene.cameras)
    samples.append((time.perf_counter() - begin, "done", frames, resident_mib()))
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
        "seconds": samples[-1][0],
        "peak_mib": max(sample[3] for sample in samples),
        "samples": samples,
    }


class _Forgetful(list):
    """A list of calls that keeps none: the simulation must not grow either."""

    def append(self, item) -> None:
        pass


def draw(figures: dict, path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.add_subplot()
    samples = figures["samples"]
    stages = list(dict.fromkeys(sample[1] for sample in samples if sample[1] != "done"))
    colors = ["#9a9a9a", "#d9663b", "#3b7dd9", "#4c9a5b", "#8a5bb0", "#c9a227", "#555555"]
    for stage, color in zip(stages, colors, strict=False):
        chosen = [(seconds, mib) for seconds, name, _, mib in samples if name == stage]
        axes.plot(*zip(*chosen, strict=True), ".", color=color, markersize=3, label=stage)
    axes.set(xlabel="seconds", ylabel="resident memory, MiB", ylim=(0, max(figures["peak_mib"] * 1.25, 1)))
    width, height = figures["size"]
    axes.set_title(
        f"{figures['frames']} frames of {width}x{height} in chunks of {figures['chunk_size']}, network simulated",
        loc="left",
        fontsize=10,
    )
    axes.legend(frameon=False, fontsize=8, ncols=3, markerscale=3)
    axes.grid(alpha=0.2)
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
    figures["samples"] = [[round(s, 2), stage, done, round(mib, 1)] for s, stage, done, mib in figures["samples"]][::4]
    stem.with_suffix(".json").write_text(json.dumps(figures, indent=1) + "\n")
    print({key: value for key, value in figures.items() if key != "samples"})


if __name__ == "__main__":
    main()
