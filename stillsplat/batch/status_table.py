"""What a batch shows while it runs: a table of its clips on a terminal, a line per finished clip elsewhere."""

import time
from types import TracebackType

from rich.console import Console, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from dynamic_predictor.evaluation.distribution import Outcome
from stillsplat.batch.clip_work import read_status
from stillsplat.batch.clips import Clip
from stillsplat.batch.folder import BatchFolder
from terminal.console import PlainConsole
from terminal.progress_bars import ACCENT, format_duration

#: rows of clips that are waiting or done; the others are counted
_MOST_ROWS = 24
_MAIN_FIGURES = ("psnr_das3r", "psnr_static")


class StatusTable:
    """A `batch.Watcher` and context manager. The clips' own processes note how far they are in files."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or PlainConsole(stderr=True)
        self._clips: list[Clip] = []
        self._folder: BatchFolder | None = None
        self._outcomes: dict[str, Outcome] = {}
        self._known: set[str] = set()
        self._started: dict[str, float] = {}
        self._begun = time.monotonic()
        self._live = Live(
            get_renderable=self.table, console=self.console, refresh_per_second=2, transient=True, auto_refresh=True
        )

    def __enter__(self) -> "StatusTable":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._live.stop()

    def begin(self, clips: list[Clip], folder: BatchFolder) -> None:
        self._clips, self._folder, self._begun = clips, folder, time.monotonic()
        for clip in clips:
            folder.status(clip).unlink(missing_ok=True)  # of a process that was killed
        if self.console.is_terminal:
            self._live.start()

    def done(self, outcome: Outcome, *, was_known: bool) -> None:
        self._outcomes[outcome.item] = outcome
        if was_known:
            self._known.add(outcome.item)
        if not self.console.is_terminal:
            self.console.print(f"{outcome.item}: {self._words(outcome)}", soft_wrap=True, markup=False)

    def table(self) -> RenderableType:
        """The table as it is now."""
        table = Table(box=None, padding=(0, 2, 0, 0), title_justify="left", title=self._title(), title_style="bold")
        for heading in ("clip", "stage", "", "time", "result"):
            table.add_column(heading, header_style="dim", no_wrap=heading != "result")
        rows, left_out = [], {"done": 0, "waiting": 0}
        for clip in self._clips:
            state, row = self._row(clip)
            if state in left_out and len(rows) >= _MOST_ROWS:
                left_out[state] += 1
            else:
                rows.append(row)
        for row in rows:
            table.add_row(*row)
        more = [f"{count} more {state}" for state, count in left_out.items() if count]
        if more:
            table.add_row(Text(", ".join(more), style="dim"))
        return table

    def _title(self) -> str:
        failed = sum(outcome.failure is not None for outcome in self._outcomes.values())
        finished = len(self._outcomes) - failed
        words = f"{finished} of {len(self._clips)} done" + (f", {failed} failed" if failed else "")
        return f"{words}, {format_duration(time.monotonic() - self._begun)}"

    def _row(self, clip: Clip) -> tuple[str, list[RenderableType]]:
        outcome = self._outcomes.get(clip.name)
        if outcome is not None:
            failed = outcome.failure is not None
            mark = Text("✗ failed", style="red") if failed else Text("✓ done", style="green")
            seconds = "" if failed else format_duration(outcome.value["seconds"])
            return ("failed" if failed else "done"), [
                Text(clip.name),
                mark,
                "",
                seconds,
                Text(self._words(outcome, short=True)),
            ]
        status = read_status(self._folder.status(clip)) if self._folder is not None else {}
        if not status:
            return "waiting", [Text(clip.name, style="dim"), Text("waiting", style="dim"), "", "", ""]
        since = self._started.setdefault(clip.name, time.monotonic())
        total = max(int(status.get("total", 1)), 1)
        bar = ProgressBar(total, min(int(status.get("done", 0)), total), width=16, complete_style=ACCENT)
        elapsed = format_duration(time.monotonic() - since)
        return "running", [Text(clip.name), Text(str(status.get("stage", "")), style=ACCENT), bar, elapsed, ""]

    def _words(self, outcome: Outcome, *, short: bool = False) -> str:
        if outcome.failure is not None:
            return outcome.failure if short else f"failed: {outcome.failure}"
        scores = outcome.value["scores"]
        figures = scores.get("held_out") or scores.get("training") or {}
        shown = [f"{name} {figures[name]['value']:.2f} dB" for name in _MAIN_FIGURES if _has_value(figures, name)]
        words = ", ".join(shown[:1]) + (", done before" if outcome.item in self._known else "")
        words = words.removeprefix(", ")
        return words if short else f"done: {words}, {format_duration(outcome.value['seconds'])}"


def _has_value(figures: dict, name: str) -> bool:
    return figures.get(name, {}).get("value") is not None
