"""Tables of figures: as text for the terminal, JSON for programs and LaTeX for papers."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from scene.files.atomic import atomic_file
from scene.files.json_files import write_json

#: characters with a special meaning in LaTeX
_ESCAPES = str.maketrans({letter: f"\\{letter}" for letter in "_%&#${}"})


@dataclass(frozen=True)
class Column:
    """A column of a table and the format of its figures."""

    #: of the figure in a row
    key: str
    heading: str
    decimals: int = 3
    #: by which figures are multiplied for display; 100 shows shares as percentages
    factor: float = 1.0
    #: which figures are better: "lower", "higher", or "" for neither
    better: str = "lower"
    #: the heading in LaTeX, where it differs
    latex: str = ""

    @property
    def arrow(self) -> str:
        return {"lower": "↓", "higher": "↑"}.get(self.better, "")

    def format(self, value: object) -> str:
        """The formatted value; a dash for a missing or non-finite one."""
        if not isinstance(value, int | float) or not math.isfinite(value):
            return "–"
        return f"{value * self.factor:.{self.decimals}f}"


@dataclass
class Table:
    """A table of figures by row and column key; `summary` rows, such as the mean, stand below a line."""

    title: str
    first_heading: str
    columns: Sequence[Column]
    rows: dict[str, Mapping[str, object]] = field(default_factory=dict)
    summary: dict[str, Mapping[str, object]] = field(default_factory=dict)

    def add_mean(self, name: str = "mean") -> None:
        """Adds a summary row with the mean of the finite numbers of each column."""
        means = {}
        for column in self.columns:
            values = [row.get(column.key) for row in self.rows.values()]
            finite = [float(value) for value in values if isinstance(value, int | float) and math.isfinite(value)]
            means[column.key] = sum(finite) / len(finite) if finite else math.nan
        self.summary[name] = means

    def text(self) -> str:
        """The table as plain text with aligned columns."""
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

    def latex(self) -> str:
        """The table as a LaTeX `tabular` with rules of the package booktabs."""
        arrows = {"lower": r" $\downarrow$", "higher": r" $\uparrow$", "": ""}
        heads = [self.first_heading.translate(_ESCAPES)]
        heads += [(c.latex or c.heading.translate(_ESCAPES)) + arrows[c.better] for c in self.columns]
        lines = [r"\begin{tabular}{l" + "c" * len(self.columns) + "}", r"\toprule"]
        lines += [" & ".join(heads) + r" \\", r"\midrule"]
        lines += [self._latex_row(name, row) for name, row in self.rows.items()]
        if self.summary:
            lines += [r"\midrule", *(self._latex_row(name, row) for name, row in self.summary.items())]
        return "\n".join([f"% {self.title}", *lines, r"\bottomrule", r"\end{tabular}"]) + "\n"

    def json(self) -> dict[str, object]:
        """The table's title, rows and summary, for JSON."""

        def figures(rows: Mapping[str, Mapping[str, object]]) -> dict[str, dict[str, object]]:
            return {name: {column.key: row.get(column.key) for column in self.columns} for name, row in rows.items()}

        return {"title": self.title, "rows": figures(self.rows), "summary": figures(self.summary)}

    def _cells(self, name: str, row: Mapping[str, object]) -> list[str]:
        return [name, *(column.format(row.get(column.key)) for column in self.columns)]

    def _latex_row(self, name: str, row: Mapping[str, object]) -> str:
        cells = [cell.replace("–", "--") for cell in self._cells(name, row)[1:]]
        return " & ".join([name.translate(_ESCAPES), *cells]) + r" \\"


def write_tables(folder: Path, name: str, tables: Sequence[Table], *, latex: bool = True) -> str:
    """Writes `folder`/`name`.txt, .json and, with `latex`, .tex; returns the text."""
    texts = {"txt": "\n".join(table.text() for table in tables)}
    if latex:
        texts["tex"] = "\n".join(table.latex() for table in tables)
    for suffix, text in texts.items():
        with atomic_file(folder / f"{name}.{suffix}") as temporary:
            temporary.write_text(text, "utf-8")
    write_json(folder / f"{name}.json", [table.json() for table in tables])
    return texts["txt"]
