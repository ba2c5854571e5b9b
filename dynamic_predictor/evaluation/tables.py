"""Tables of figures: text for the terminal, JSON for programs, LaTeX for papers."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

#: letters that mean something to LaTeX
_ESCAPES = str.maketrans({letter: f"\\{letter}" for letter in "_%&#${}"})


@dataclass(frozen=True)
class Column:
    """One figure: its key in a row, its heading, decimals, factor that it is shown with, and what is better."""

    key: str
    heading: str
    decimals: int = 3
    #: 100 shows shares as percentages
    factor: float = 1.0
    #: "lower", "higher" or "" where it cannot be said
    better: str = "lower"
    #: the heading in LaTeX, where it is another
    latex: str = ""

    @property
    def arrow(self) -> str:
        return {"lower": "↓", "higher": "↑"}.get(self.better, "")

    def shown(self, value: object) -> str:
        """The value as it stands in a table; a dash for what is not known."""
        if not isinstance(value, int | float) or not math.isfinite(value):
            return "–"
        return f"{value * self.factor:.{self.decimals}f}"


@dataclass
class Table:
    """Rows by name. `summary` are rows below a line, such as the mean."""

    title: str
    first_heading: str
    columns: Sequence[Column]
    rows: dict[str, Mapping[str, object]] = field(default_factory=dict)
    summary: dict[str, Mapping[str, object]] = field(default_factory=dict)

    def add_mean(self, name: str = "mean") -> None:
        """A summary row with the mean of each column over the rows that have a finite number there."""
        means = {}
        for column in self.columns:
            values = [row.get(column.key) for row in self.rows.values()]
            finite = [float(value) for value in values if isinstance(value, int | float) and math.isfinite(value)]
            means[column.key] = sum(finite) / len(finite) if finite else math.nan
        self.summary[name] = means

    def text(self) -> str:
        """Columns under each other, in plain characters."""
        heads = [self.first_heading, *(f"{column.heading} {column.arrow}".rstrip() for column in self.columns)]
        body = [self._cells(name, row) for name, row in self.rows.items()]
        end = [self._cells(name, row) for name, row in self.summary.items()]
        widths = [max(len(cells[k]) for cells in (heads, *body, *end)) for k in range(len(heads))]

        def line(cells: Sequence[str]) -> str:
            padded = [cells[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(cells[1:], widths[1:], strict=True))]
            return "  ".join(padded).rstrip()

        rule = "-" * len(line(heads).ljust(sum(widths) + 2 * len(widths) - 2))
        lines = [self.title, line(heads), rule, *(line(cells) for cells in body)]
        if end:
            lines += [rule, *(line(cells) for cells in end)]
        return "\n".join(lines) + "\n"

    def latex(self, *, bold_best: bool = False) -> str:
        """A `tabular` of the package booktabs; with `bold_best`, the best of each column is bold."""
        arrows = {"lower": r" $\downarrow$", "higher": r" $\uparrow$", "": ""}
        heads = [self.first_heading.translate(_ESCAPES)]
        heads += [(c.latex or c.heading.translate(_ESCAPES)) + arrows[c.better] for c in self.columns]
        lines = [r"\begin{tabular}{l" + "c" * len(self.columns) + "}", r"\toprule"]
        lines += [" & ".join(heads) + r" \\", r"\midrule"]
        for name, row in self.rows.items():
            cells = self._cells(name, row)
            marked = [cells[0].translate(_ESCAPES)]
            for column, cell in zip(self.columns, cells[1:], strict=True):
                best = bold_best and self._is_best(column, cell)
                marked.append(rf"\textbf{{{cell}}}" if best else cell.replace("–", "--"))
            lines.append(" & ".join(marked) + r" \\")
        if self.summary:
            lines.append(r"\midrule")
            for name, row in self.summary.items():
                cells = self._cells(name, row)
                lines.append(" & ".join([cells[0].translate(_ESCAPES), *cells[1:]]).replace("–", "--") + r" \\")
        return "\n".join([f"% {self.title}", *lines, r"\bottomrule", r"\end{tabular}"]) + "\n"

    def json(self) -> dict[str, object]:
        """Rows and summary with plain numbers, None for what is not known."""

        def plain(row: Mapping[str, object]) -> dict[str, object]:
            values = {column.key: row.get(column.key) for column in self.columns}
            return {
                key: value if not isinstance(value, float) or math.isfinite(value) else None
                for key, value in values.items()
            }

        return {
            "title": self.title,
            "rows": {name: plain(row) for name, row in self.rows.items()},
            "summary": {name: plain(row) for name, row in self.summary.items()},
        }

    def _cells(self, name: str, row: Mapping[str, object]) -> list[str]:
        return [name, *(column.shown(row.get(column.key)) for column in self.columns)]

    def _is_best(self, column: Column, cell: str) -> bool:
        shown = [column.shown(row.get(column.key)) for row in self.rows.values()]
        values = [float(text) for text in shown if text != "–"]
        if cell == "–" or not column.better or not values:
            return False
        return float(cell) == (min(values) if column.better == "lower" else max(values))


def tables_json(tables: Sequence[Table]) -> str:
    """Several tables as one JSON text."""
    return json.dumps([table.json() for table in tables], indent=2, ensure_ascii=False) + "\n"
