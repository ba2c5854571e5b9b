"""The report's sections on the course of the optimization and on times."""

from typing import Any

from scene.scene import Scene
from stillsplat.report.charts import Plot, line_chart, time_bars
from stillsplat.report.material import STAGES, Material
from stillsplat.report.scores_section import numbers
from terminal.progress_bars import format_duration


def curves_section(material: Material) -> list[Plot]:
    """Loss, PSNR and number of Gaussians over the iterations; empty before the optimization."""
    history = material.folder.record["stages"].get("optimize", {}).get("history") or []
    if not history:
        return []

    def chart(name: str, label: str, y_label: str, scale: float = 1.0, color: str = "accent"):
        steps, values = (numbers(entry.get(key) for entry in history) for key in ("iteration", name))
        values = [value * scale for value in values]
        return line_chart(label, steps, values, x_label="iteration", y_label=y_label, color=color)

    return [
        Plot(chart("loss", "loss", "loss, no unit"), "Loss", "jumps where the images get larger"),
        Plot(chart("psnr", "psnr", "dB", color="second"), "PSNR", "static pixels of recent training frames"),
        Plot(chart("gaussians", "Gaussians", "thousands", scale=1e-3), "Number of Gaussians"),
    ]


def times_section(material: Material) -> list[Plot]:
    """The time of every stage, and of the steps of the predictor where it has recorded them."""
    times = {name: float(stage["seconds"]) for name, stage in material.folder.record["stages"].items()}
    stages = [(STAGES.get(str(name), str(name)), seconds) for name, seconds in times.items() if name != "report"]
    plots = [Plot(time_bars([(*stage, format_duration(stage[1])) for stage in stages]), "Steps of the run")]
    steps = _predictor_times(material.scene)
    if steps:
        plots.append(Plot(time_bars([(*step, format_duration(step[1])) for step in steps]), "Inside the predictor"))
    return plots


def _predictor_times(scene: Scene) -> list[tuple[str, float]]:
    """The longest steps of the predictor, in seconds."""
    for name in ("seconds", "times", "timings"):
        values: Any = scene.provenance.get(name)
        if isinstance(values, dict):
            times = [(str(key), float(value)) for key, value in values.items() if isinstance(value, int | float)]
            return sorted(times, key=lambda item: -item[1])[:12]
    return []
