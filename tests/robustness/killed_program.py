"""Runs a command again and again in processes that kill themselves at one rename after the other, continues each, and
prints what is wrong then. Its own process, because children are forked.

killed_program.py NAME CLIP FOLDER STEP    kills before every STEP-th rename and the last ones; 1: also after each
"""

import hashlib
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from dynamic_predictor.contract import Prediction, Views
from dynamic_predictor.specs import registered
from gaussian import rendering, trainer
from scene import splat_rendering
from stillsplat.cli import main
from tests.dynamic_predictor.toy_predictor import SPEC as TOY
from tests.stillsplat.stand_ins import FakePredictor, FakeRenderer, fake_render, fake_spec, fake_train


class Chunks(FakePredictor):
    """Says something about every chunk, and finds another focal length in each unless it is given one."""

    def predict(self, views: Views, **more: Any) -> Prediction:
        found = super().predict(views, **more)
        first = int(views.frames.names[0].split(".")[0])
        intrinsics = found.intrinsics.copy()
        intrinsics[:, 0, 0] = intrinsics[:, 1, 1] = views.focal or 60.0 + first
        return replace(found, intrinsics=intrinsics, warnings=(f"This is chunk {first}.", "All is fake."))


def tree(folder: Path) -> dict[str, str]:
    """Digests of the files that do not tell the time."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    changing = ("run.json", "report.html", "metrics.json", "depth.json", "cfg_args")
    kept = [path for path in files if path.name not in changing and path.suffix != ".mp4"]
    return {str(path.relative_to(folder)): hashlib.sha256(_content(path)).hexdigest() for path in kept}


def _content(path: Path) -> bytes:
    """The bytes of a file, without the times that a scene records."""
    if path.name != "scene.json":
        return path.read_bytes()
    scene = json.loads(path.read_text())
    scene["provenance"].pop("seconds_per_step", None)
    return json.dumps(scene).encode()


def in_child(arguments: list[str], log: Path, at: int = 0, after: bool = False) -> tuple[int, int]:
    """The exit status (negative: killed), and how many renames there were, of a command in a process of its own that
    kills itself before or after rename number `at`."""
    reading, writing = os.pipe()
    child = os.fork()
    if child:
        os.close(writing)
        _, status = os.waitpid(child, 0)
        count = os.read(reading, 20)
        os.close(reading)
        return os.waitstatus_to_exitcode(status), int(count or 0)
    target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(target, 1)
    os.dup2(target, 2)
    count, status = 0, 1

    def deadly(function: Callable) -> Callable:
        def call(*arguments, **more):
            nonlocal count
            count += 1
            if count == at and not after:
                os.kill(os.getpid(), signal.SIGKILL)
            function(*arguments, **more)
            if count == at:
                os.kill(os.getpid(), signal.SIGKILL)

        return call

    os.rename, os.replace = deadly(os.rename), deadly(os.replace)
    try:
        status = main(arguments)
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os.write(writing, str(count).encode())
    os._exit(status)


def check(name: str, clip: Path, folder: Path, step: int) -> None:
    chunks = ["--chunk-size", "4", "--overlap", "2"]
    command, again, before = {
        "run": (["run", "--predictor", "fake", "--iterations", "20"], ["--resume"], False),
        "run over another": (["run", "--predictor", "fake", "--iterations", "20", "--overwrite"], ["--resume"], True),
        "poses": (["poses", "--predictor", "chunks", *chunks], ["--resume"], False),
        "poses over others": (["poses", "--predictor", "chunks", *chunks, "--overwrite"], ["--resume"], True),
        "online poses": (["poses", "--predictor", "toy", *chunks], ["--resume"], False),
        "predict over another": (["predict", "--predictor", "fake", "--export", "tum", "--overwrite"], None, True),
        "depth over others": (["depth", "--predictor", "fake", "--overwrite"], None, True),
    }[name]  # fmt: skip
    log = folder / "log"
    words = [command[0], str(clip), *command[1:]]
    plain = [word for word in words if word != "--overwrite"]
    # here, so that the children need not import anything
    assert main([*plain, "-o", str(folder / "reference")]) == 0
    status, total = in_child([*plain, "-o", str(folder / "counted")], log)
    assert status == 0, log.read_text()
    expected = tree(folder / "reference")
    other = [*plain, "--seed", "5"]
    if before:
        status, _ = in_child([*other, "-o", str(folder / "other")], log)
        os.system(f"cp -r '{folder / 'other'}' '{folder / 'probe'}'")
        status, total = in_child([*words, "-o", str(folder / "probe")], log)
        assert status == 0, log.read_text()
    for at in sorted({*range(1, total + 1, step), *range(max(1, total - (3 if step > 1 else 0)), total + 1)}):
        for after in (False,) if step > 1 else (False, True):
            place = folder / f"{at}{'after' if after else 'before'}"
            place.mkdir()
            out = place / "out"
            if before:
                os.system(f"cp -r '{folder / 'other'}' '{out}'")
            killed, _ = in_child([*words, "-o", str(out)], log, at, after)
            if killed != -9:
                print(f"kill {place.name}: was not killed but ended with {killed}: {log.read_text()}")
                continue
            # what was there and what was finished: one of them must be found
            if again is None:
                second = [*words, "-o", str(out)]
            elif any((path / "run.json").exists() or path.name == "out.part" for path in place.iterdir()):
                second = [*plain, *again, "-o", str(out)]
            else:
                second = [*plain, *(again if before else ["--overwrite"]), "-o", str(out)]
            status, _ = in_child(second, log)
            text = log.read_text()
            if status == 2 and "it is finished" in text and tree(out) == expected:
                status = 0
            if status == 2 and "begun with another value" in text and before and tree(out) == tree(folder / "other"):
                status, _ = in_child([*words, "-o", str(out)], log)  # the run of before is there as a whole
                text = log.read_text()
            if status != 0:
                print(f"kill {place.name}: status {status} of {' '.join(second)}: {text[-600:]}")
            elif tree(out) != expected:
                found = tree(out)
                different = [key for key in expected | found if expected.get(key) != found.get(key)]
                print(f"kill {place.name}: other files: {different}")
            elif sorted(path.name for path in place.iterdir()) != ["out"]:
                print(f"kill {place.name}: left over: {sorted(path.name for path in place.iterdir())}")
            os.system(f"rm -rf '{place}'")
    print(f"{total} renames")


if __name__ == "__main__":
    fake_train.calls, fake_train.error = [], None

    def same_train(*arguments, **more):
        torch.manual_seed(0)
        return fake_train(*arguments, **more)

    trainer.train, rendering.render, splat_rendering.Renderer = same_train, fake_render, FakeRenderer
    with (
        registered(fake_spec("fake", single_view=True)),
        registered(TOY),
        registered(fake_spec("chunks", Chunks, shares_focal=True)),
    ):
        check(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))
