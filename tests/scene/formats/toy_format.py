"""A format as a plugin adds it: one file with a writer, and a row. docs/exports.md explains the steps."""

from pathlib import Path

from scene.files.atomic import atomic_file
from scene.formats.exportable import Exportable
from scene.formats.options import ExportOptions
from scene.formats.registry import Format
from scene.progress import Progress


def export(source: Exportable, folder: Path, options: ExportOptions, progress: Progress) -> None:
    """Writes centers.csv: one line x,y,z per camera, and the number of points."""
    points = source.point_cloud(options, progress)
    with atomic_file(folder / "centers.csv") as temporary:
        lines = [",".join(str(value) for value in camera.center) for camera in source.cameras]
        temporary.write_text("\n".join([*lines, str(len(points.positions))]) + "\n")


ROW = Format("centers", "centers of the cameras", "centers.csv", ("cameras", "points"), export)
