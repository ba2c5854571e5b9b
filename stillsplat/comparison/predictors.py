"""One clip through several predictors: a run folder for each, and a page that compares them."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from dynamic_predictor.evaluation.distribution import Engine, Work
from dynamic_predictor.evaluation.local_processes import LocalProcesses
from dynamic_predictor.predictor_options import option_flags
from dynamic_predictor.specs import predictor_spec, unknown_settings
from scene.errors import InputError
from scene.open_scene import can_open
from scene.progress import Progress, ignore_progress
from stillsplat.batch.batch import BatchResult, Watcher, run_batch
from stillsplat.batch.clip_work import ClipWork
from stillsplat.batch.clips import Clip, FoundClips
from stillsplat.batch.folder import BatchFolder
from stillsplat.comparison.page import Comparison, compare, write_page
from stillsplat.settings import RunSettings

PAGE = "compare.html"


def predictor_names(given: str | None) -> list[str]:
    """The names in the value of `--predictor`, joined by commas."""
    return [] if given is None else [name.strip() for name in given.split(",") if name.strip()]


def run_predictors(
    settings: RunSettings,
    names: Sequence[str],
    output: str | Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    watcher: Watcher | None = None,
    progress: Progress = ignore_progress,
    engine: Callable[[BatchFolder], Engine] = lambda folder: LocalProcesses(1, logs=folder.logs),
    wrapped: Callable[[ClipWork], Work] = lambda work: work,
) -> tuple[BatchResult, Comparison | None]:
    """Runs the clip with each of the predictors `names` into OUT/<predictor>, and writes OUT/compare.html where two or
    more succeeded. Each has a process of its own, so that memory is that of one predictor alone, and gets those
    predictor options that it has.

    Raises `InputError` for an unknown predictor, for options that none of them has, for weights of one of them, and
    when `output` exists and neither `resume` nor `overwrite` is set.
    """
    output = Path(output)
    if len(set(names)) != len(names):
        raise InputError("--predictor names a predictor twice; leave one out.")
    for name in names:
        predictor_spec(name)
    if settings.weights is not None:
        raise InputError("--weights is for one predictor; run the one that they are for by itself.")
    if can_open(settings.input):
        raise InputError(f"{settings.input} is a scene already, so no predictor runs; leave out --predictor.")
    of_none = [
        option for option in settings.predictor_options if all(unknown_settings(name, [option]) for name in names)
    ]
    if of_none:
        raise InputError(f"None of the predictors has anything of that kind; leave out {option_flags(of_none)}.")
    if resume and overwrite:
        raise InputError("--resume continues a run and --overwrite throws it away; give only one of them.")
    if output.exists() and any(output.iterdir()) and not (resume or overwrite):
        raise InputError(
            f"The output folder {output} exists already; --resume to continue it, --overwrite to replace it."
        )

    def of_predictor(clip: Clip) -> RunSettings:
        options = settings.predictor_options
        known = {name: value for name, value in options.items() if not unknown_settings(clip.name, [name])}
        return replace(settings, predictor=clip.name, predictor_options=known)

    found = FoundClips([Clip(name, settings.input) for name in names])
    result = run_batch(found, of_predictor, output, engine, overwrite=overwrite, watcher=watcher, wrapped=wrapped)
    finished = [output / name for name in names if name not in result.failures]
    if len(finished) < 2:
        return result, None
    comparison = compare(finished, progress=progress)
    write_page(comparison, output / PAGE, progress=progress)
    return result, comparison
