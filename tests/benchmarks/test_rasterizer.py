"""benchmarks/rasterizer.py as it is called, on next to nothing."""

import json
import os
import stat
import subprocess
import sys

import pytest

from tests.paths import ROOT

#: takes the arguments that OpenSplat takes, and time for each iteration and point
STAND_IN = """#!{python}
import pathlib, struct, sys, time
scene, arguments = pathlib.Path(sys.argv[1]), sys.argv[2:]
assert "--cpu" in arguments and len(list((scene / "images").glob("*.png"))) == 8
(points,) = struct.unpack("<Q", (scene / "sparse" / "0" / "points3D.bin").read_bytes()[:8])
time.sleep(1e-5 * points * int(arguments[arguments.index("-n") + 1]))
"""


def run(tmp_path, *arguments):
    command = [sys.executable, "benchmarks/rasterizer.py", "--sizes", "64x48", "--counts", "500", "--threads", "2"]
    command += ["--repeats", "3", "--json", str(tmp_path / "figures.json"), *arguments]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    return done.stdout, json.loads((tmp_path / "figures.json").read_text())


def test_comparison_beside_a_program_that_is_given(tmp_path):
    binary = tmp_path / "opensplat"
    binary.write_text(STAND_IN.format(python=sys.executable))
    binary.chmod(binary.stat().st_mode | stat.S_IXUSR)
    printed, report = run(tmp_path, "--compare", "--opensplat", str(binary))
    (theirs,) = report["peers"]["opensplat"]
    assert theirs["count"] == 500 and theirs["size"] == [64, 48] and theirs["ms"] == pytest.approx(5, rel=0.5)
    lines = [line.split() for line in printed.splitlines()]
    header = next(line for line in lines if line[:2] == ["image", "Gaussians"])
    assert header == ["image", "Gaussians", "MB", "Mflop", "floor", "ms", "ms", "share"]
    (ours,) = [line[3:] for line in lines if line[:3] == ["ours,", "2", "threads"]]
    (others,) = [line[1:] for line in lines if line and line[0] == "OpenSplat"]
    assert ours[:5] == others[:5] and ours[0] == "64x48" and ours[-1].endswith("%") and others[-1].endswith("%")
    assert float(others[5]) == pytest.approx(theirs["ms"], abs=0.1)
    assert "times it" in printed and isinstance(report["peers"]["inria"], str)


def test_comparison_where_nothing_else_is_and_neighbors(tmp_path):
    printed, report = run(tmp_path, "--compare", "--neighbor", "--opensplat", str(tmp_path / "not there"))
    assert report["peers"]["opensplat"][0]["ms"] == "could not be started: No such file or directory"
    assert "inria has the same package name as ours and needs an NVIDIA GPU" in printed
    (figures,) = report["neighbors"]
    assert [row["neighbors"] for row in figures][:2] == [0, 1] and all(row["processor_ms"] > 0 for row in figures)
