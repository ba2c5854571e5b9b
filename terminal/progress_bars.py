"""Progress bars with the remaining time in the terminal, and messages above them."""

import time
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
)
from rich.text import Text

from terminal.console import PlainConsole
from terminal.streams import one_line

ACCENT = "#d9663b"
#: seconds between two lines of a stage in a log
_EVERY = 5.0


def format_duration(seconds: float) -> str:
    """Seconds for people: 0.8 s, 42 s, 3 min 20 s, 1 h 5 min."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = int(round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s" if whole % 60 else f"{whole // 60} min"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


class ProgressBars:
    """A `scene.progress.Progress` that draws one bar per stage on a terminal, or prints a line every few seconds and
    per finished stage where there is none (logs, pipes). A context manager."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or PlainConsole(stderr=True)
        #: when the last line of a stage was printed
        self._told = time.monotonic()
        self._live = self.console.is_terminal
        self._tasks: dict[str, TaskID] = {}
        self._started: dict[str, float] = {}
        self._bars = Progress(
            SpinnerColumn(style=ACCENT, finished_text="[green]✓[/]"),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=28, complete_style=ACCENT, finished_style="green"),
            MofNCompleteColumn(),
            _TimeLeft(),
            TextColumn("{task.fields[note]}", style="dim", markup=False),
            console=self.console,
            refresh_per_second=5,
            disable=not self._live,
        )

    def __enter__(self) -> "ProgressBars":
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for stage, task in self._tasks.items():
            if stage in self._started:
                self._bars.stop_task(task)
        self._bars.stop()

    def __call__(self, stage: str, done: int, total: int) -> None:
        now = time.monotonic()
        if done <= 0 or stage not in self._tasks:
            if stage not in self._started:
                self._started[stage] = now
        if self._live:
            task = self._tasks.get(stage)
            if task is None:
                task = self._tasks[stage] = self._bars.add_task(stage, total=max(total, 1), note="")
            elif done < total and next(item for item in self._bars.tasks if item.id == task).finished:
                self._bars.reset(task, total=max(total, 1))
                self._started[stage] = now
            self._bars.update(task, completed=done, total=max(total, 1))
        elif done >= total and stage in self._started:
            self._told = now
            self.console.print(f"{stage}: {total} in {format_duration(now - self._started.pop(stage))}", soft_wrap=True)
        elif now - self._told >= _EVERY:
            self._told = now
            started = self._started.setdefault(stage, now)
            left = (now - started) * (total - done) / done if done > 0 else 0.0
            rest = f", {format_duration(left)} left" if left > 0 else ""
            self.console.print(f"{stage}: {done} of {total}{rest}", soft_wrap=True)
        if done >= total:
            self._started.pop(stage, None)

    def note(self, stage: str, words: str) -> None:
        """Shows `words` beside the bar of `stage`; nothing where there is no such bar."""
        if stage in self._tasks:
            self._bars.update(self._tasks[stage], note=words)

    def say(self, sentence: str) -> None:
        """Prints a sentence above the bars."""
        self.console.print(Text(one_line(sentence)), soft_wrap=True)

    def warn(self, sentence: str) -> None:
        """Prints a sentence that a person should not overlook."""
        self.console.print(Text("! ", style="bold yellow") + Text(one_line(sentence)), soft_wrap=True)


class _TimeLeft(ProgressColumn):
    """Time left while a stage runs, time taken when it has ended."""

    def render(self, task: Task) -> Text:
        if task.finished:
            return Text(format_duration(task.finished_time or 0.0), style="dim")
        if task.time_remaining is None:
            return Text(format_duration(task.elapsed or 0.0), style="dim")
        return Text(f"{format_duration(task.time_remaining)} left", style="default")
