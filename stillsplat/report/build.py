"""Writes a run's report: collects the content of its sections and renders the page."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from scene.files.atomic import atomic_file
from scene.progress import Progress, ignore_progress
from scene.scene import Scene
from stillsplat.report.camera_section import camera_section
from stillsplat.report.frames_section import slider_section, strips_section
from stillsplat.report.header_section import clip_title, header_section
from stillsplat.report.material import read_material
from stillsplat.report.optimization_section import curves_section, times_section
from stillsplat.report.page import render_page
from stillsplat.report.provenance_section import files_section, licenses_section, protocol_section, value_lists
from stillsplat.report.scores_section import scores_section
from stillsplat.report.truth_section import truth_section
from stillsplat.report.video_section import video_section
from stillsplat.run_folder import RunFolder, code_version

_WORKERS = 2


def write_report(folder: RunFolder, *, scene: Scene | None = None, progress: Progress = ignore_progress) -> Path:
    """Writes OUT/report.html; returns its path. `scene`: the run's, if loaded.

    A run that was stopped gets a report of what it has made so far, which says what is missing. Raises `InputError`
    when there is no scene yet.
    """
    material = read_material(folder, scene)
    # nearly all of the time goes into reading and coding images, which leaves Python's lock to others
    with ThreadPoolExecutor(_WORKERS) as workers:
        pictures = {
            "slider": slider_section(material, workers),
            "video": video_section(material),
            "evaluation": truth_section(material, workers),
            "strips": strips_section(material, progress, workers),
        }
    content = {
        "title": clip_title(material),
        "width": material.scene.frames.width,
        "height": material.scene.frames.height,
        "header": header_section(material),
        **pictures,
        "scores": scores_section(material),
        "camera": camera_section(material),
        "curves": curves_section(material),
        "times": times_section(material),
        "files": files_section(material),
        "licenses": licenses_section(material),
        "protocol": protocol_section(material),
        "lists": value_lists(material),
        "code": code_version(),
        "date": time.strftime("%d %B %Y, %H:%M"),
    }
    with atomic_file(folder.report) as temporary:
        temporary.write_text(render_page(content), "utf-8", errors="backslashreplace")
    return folder.report
