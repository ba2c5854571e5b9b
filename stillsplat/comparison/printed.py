"""A comparison as tables in the terminal."""

from rich.table import Table
from rich.text import Text

from stillsplat.comparison.page import Comparison
from terminal.console import PlainConsole
from terminal.progress_bars import ACCENT


def print_comparison(comparison: Comparison) -> None:
    """Prints the tables, the best value of a line in the accent color with a star, and what may not be compared."""
    console = PlainConsole()
    for heading, rows in comparison.tables.items():
        if not rows:
            continue
        console.print(Text(f"\n{heading}", style="bold"))
        table = Table(box=None, padding=(0, 2, 0, 0))
        table.add_column("", no_wrap=True)
        for name in comparison.names:
            table.add_column(Text(name), justify="right", overflow="fold")
        has_remarks = any(row.over or row.obstacle for row in rows)
        if has_remarks:
            table.add_column("", style="dim")
        for row in rows:
            cells = [
                Text(f"{value} ★", style=f"bold {ACCENT}") if index in row.best else Text(value)
                for index, value in enumerate(row.values)
            ]
            remark = f"{row.over}; not comparable: {row.obstacle}" if row.obstacle else row.over
            table.add_row(Text(row.name), *cells, *([Text(remark)] if has_remarks else []))
        console.print(table)
    if comparison.notes:
        console.print()
        console.print(Text("\n".join(comparison.notes), style="dim"), soft_wrap=True)
