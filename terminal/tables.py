"""Tables of figures for the terminal."""

from rich.table import Table

from terminal.progress_bars import ACCENT


def figures_table(title: str, rows: list[tuple[str, str, str]]) -> Table:
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
