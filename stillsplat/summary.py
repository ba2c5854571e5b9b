"""The summaries printed at the end of a run and of an evaluation."""

from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from stillsplat.reconstruct import Reconstruction
from stillsplat.scores.against_truth import FIGURES
from stillsplat.scores.scoring import format_value, listed_scores
from terminal.console import PlainConsole
from terminal.progress_bars import ACCENT, format_duration

_RUN_FIGURES = ("psnr_static", "psnr_das3r", "ssim_static", "lpips_static", "mask_iou", "mask_j", "mask_f")


def print_run_summary(result: Reconstruction) -> None:
    """Prints the figures, times and output files of a finished run."""
    if result.shots:
        _print_shots(result)
        return
    console = PlainConsole()
    metrics, folder = result.metrics, result.folder
    width, height = metrics["size"]
    rows = [("frames", str(metrics["frames"]), f"{width} x {height} pixels, a camera for each")]
    rows.append(("Gaussians", f"{metrics['gaussians']:,}", ""))
    rows += [row[:3] for row in listed_scores(metrics["scores"], _RUN_FIGURES)]
    seconds = metrics["seconds"]
    parts = ", ".join(f"{name} {format_duration(value)}" for name, value in seconds.items())
    rows.append(("time", format_duration(sum(seconds.values())), parts))
    rows.append(("memory", f"{metrics['peak_memory_bytes'] / 2**30:.1f} GiB", "at its peak"))
    console.print()
    console.print(_figures_table("Done", rows))
    if metrics["notes"]:
        console.print(Text("\n".join(metrics["notes"]), style="dim"))
    console.print()
    for what, path in (
        ("look here first", folder.report),
        ("the clean video", folder.clean_video),
        *([("the plate", folder.path / "plate")] if (folder.path / "plate").is_dir() else []),
        ("the splats", folder.splats),
    ):
        console.print(Text(f"{what:>16}  ", style="dim") + Text(str(path), style="bold"), soft_wrap=True)


def _print_shots(result: Reconstruction) -> None:
    console = PlainConsole()
    rows = []
    for shot in result.shots:
        figures = listed_scores(shot.metrics["scores"], ("psnr_static",))[:1]
        what = f"{shot.metrics['frames']} frames, {shot.metrics['gaussians']:,} Gaussians"
        rows.append((shot.folder.path.name, figures[0][1] if figures else "", what))
    rows.append(("time", format_duration(sum(result.metrics["seconds"].values())), "of all shots"))
    console.print()
    console.print(_figures_table("Done", rows))
    if result.metrics["notes"]:
        console.print(Text("\n".join(result.metrics["notes"]), style="dim"))
    console.print(Text("\n look here first  ", style="dim") + Text(str(result.folder.report), style="bold"))


def print_evaluation_summary(output: Path, evaluation: dict[str, Any]) -> None:
    """Prints the figures of an evaluation."""
    console = PlainConsole()
    console.print()
    if "truth" in evaluation:
        rows = [
            (name, format_value(entry), FIGURES[name].short if name in FIGURES else "")
            for name, entry in evaluation["truth"]["figures"].items()
        ]
        console.print(_figures_table(f"Against the truth in {evaluation['truth']['folder']}", rows))
    if "annotations" in evaluation:
        rows = [row[:3] for row in listed_scores(evaluation["annotations"]["scores"], _RUN_FIGURES)]
        console.print(_figures_table(f"Against the annotations in {evaluation['annotations']['folder']}", rows))
    console.print(Text(f"\nwritten to {output / 'evaluation.json'}", style="dim"), soft_wrap=True)


def _figures_table(title: str, rows: list[tuple[str, str, str]]) -> Table:
    """A table with rows (figure, value, how it was measured)."""
    table = Table(
        title=title, title_justify="left", title_style="bold", show_header=False, box=None, padding=(0, 2, 0, 0)
    )
    table.add_column(style="default", no_wrap=True)
    table.add_column(justify="right", style=f"bold {ACCENT}", no_wrap=True)
    table.add_column(style="dim")
    for row in rows:
        table.add_row(*row)
    return table
