"""A result as files of any format that it can fill, for the browser to download."""

import io
import tempfile
import zipfile
from pathlib import Path

from scene.errors import InputError
from scene.formats.options import ExportOptions
from scene.formats.registry import export, formats
from viewer.result import Result


def possible_formats(result: Result) -> dict[str, str]:
    """Names of the formats that can be written from a result with one line about each, those of splats first."""
    available = result.exportable().available()
    rows = [row for row in formats().values() if set(row.needs) <= set(available)]
    rows.sort(key=lambda row: "gaussians" not in row.needs)
    return {row.name: row.description for row in rows}


def download(result: Result, name: str) -> tuple[str, bytes]:
    """File name and content of a result in a format; a ZIP archive where the format has several files. Raises
    `InputError` where it cannot be written."""
    with tempfile.TemporaryDirectory(prefix="stillsplat-") as folder:
        export(result, folder, name, ExportOptions())
        paths = sorted(path for path in Path(folder).rglob("*") if path.is_file())
        if not paths:
            raise InputError(f"The format {name} wrote no files.")
        if len(paths) == 1:
            return f"{result.name}{paths[0].suffix}", paths[0].read_bytes()
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as out:
            for path in paths:
                out.write(path, path.relative_to(folder))
        return f"{result.name}-{name}.zip", archive.getvalue()
