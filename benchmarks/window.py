"""What the window of the optimizer costs: redraws a second, and the speed of the same optimization with and without it.

    python benchmarks/window.py SCENE [--iterations 1500] [--repeats 3]

Runs alternate, without and with the window, each in a process of its own. Without a display, a virtual one (Xvfb) with
Mesa's software OpenGL is used. The first tenth of the iterations is left out.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))


def measure(scene: Path, model: Path, iterations: int, windowed: bool) -> dict[str, float]:
    """One optimization in this process: iterations and redraws a second, and the longest time between two redraws."""
    import train_gui
    from gaussian.training_run import TrainingRun

    iterated: list[float] = []
    redrawn: list[float] = []
    advance = TrainingRun.advance

    def timed_advance(self: TrainingRun) -> None:
        iterated.append(time.perf_counter())
        advance(self)

    TrainingRun.advance = timed_advance
    if windowed:
        import dearpygui.dearpygui as dpg

        from gui.window import Window

        redraw = Window._redraw

        def timed_redraw(self: Window) -> None:
            redrawn.append(time.perf_counter())
            redraw(self)
            if self._controller.session.is_over:
                dpg.stop_dearpygui()

        Window._redraw = timed_redraw
    command = ["-s", str(scene), "-m", str(model), "--iter", str(iterations)]
    if train_gui.main([*command, "--gui"] if windowed else command) != 0:
        raise SystemExit("The optimization failed.")
    timed = iterated[len(iterated) // 10 :]
    seconds = timed[-1] - timed[0]
    during = [moment for moment in redrawn if timed[0] <= moment <= timed[-1]]
    return {
        "iterations_per_second": (len(timed) - 1) / seconds,
        "redraws_per_second": len(during) / seconds,
        "longest_gap_ms": 1e3 * max((b - a for a, b in zip(during, during[1:], strict=False)), default=0.0),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the runs and the medians; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scene", type=Path)
    parser.add_argument("--iterations", type=int, default=1500)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--child", choices=("plain", "window"), help=argparse.SUPPRESS)
    parser.add_argument("--result", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.child is not None:
        with tempfile.TemporaryDirectory() as folder:
            found = measure(options.scene, Path(folder) / "model", options.iterations, options.child == "window")
        options.result.write_text(json.dumps(found))
        return 0
    environment, before = dict(os.environ), []
    if not os.environ.get("DISPLAY"):
        before = ["xvfb-run", "-a", "-s", "-screen 0 1600x1000x24"]
        environment["LIBGL_ALWAYS_SOFTWARE"] = "1"
    runs: dict[str, list[dict[str, float]]] = {"plain": [], "window": []}
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.json"
        for _ in range(options.repeats):
            for kind, found in runs.items():
                child = [sys.executable, __file__, str(options.scene), "--iterations", str(options.iterations)]
                child += ["--child", kind, "--result", str(result)]
                subprocess.run([*before, *child], check=True, env=environment, stdout=subprocess.DEVNULL)
                found.append(json.loads(result.read_text()))
                print(kind, {name: round(value, 1) for name, value in found[-1].items()}, flush=True)
    speed = {kind: statistics.median(run["iterations_per_second"] for run in found) for kind, found in runs.items()}
    redraws = statistics.median(run["redraws_per_second"] for run in runs["window"])
    slower = 100 * (1 - speed["window"] / speed["plain"])
    print(f"{redraws:.1f} redraws a second; the optimization is {slower:.1f} % slower")
    return 0


if __name__ == "__main__":
    sys.exit(main())
