"""`stillsplat view` from the command line: what it says, and what it refuses."""

import socket

import pytest
import torch

from scene.formats.splat_ply import save_ply
from scene.gaussians import Gaussians

pytest.importorskip("viser", reason="NOT CHECKED: the extra [viewer] (viser) is not installed")


@pytest.fixture
def splats(tmp_path):
    means = torch.rand(20, 3)
    path = tmp_path / "some.ply"
    save_ply(path, Gaussians.isotropic(means, torch.full((20,), -3.0), torch.full((20,), 0.5), means, 0))
    return path


def test_it_says_where_the_viewer_is(splats, run_cli, monkeypatch):
    from viewer.result_viewer import ResultViewer

    monkeypatch.setattr(ResultViewer, "wait", lambda self: None)
    status, said, error = run_cli("view", splats, splats, "--port", 0)
    assert status == 0 and "The viewer is at http://127.0.0.1:" in said, error


def test_bad_input_is_one_sentence(splats, tmp_path, run_cli):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        status, _, error = run_cli("view", splats, "--port", taken.getsockname()[1])
        assert status == 2 and "in use" in error and "--port" in error and "--viewer-port" not in error
    for arguments, words in (
        ((tmp_path / "missing",), "does not exist"),
        ((tmp_path,), "is not a scene"),
        ((), "RESULT"),
        ((splats, "--drop", tmp_path), "RESULT"),
        ((splats, "--port", 70000), "--port must be"),
        ((splats, "--host", "no.such.host.invalid", "--port", 0), "--host"),
    ):
        status, _, error = run_cli("view", *arguments)
        assert status == 2 and words in error and "Traceback" not in error, error
    (tmp_path / "bad.ply").write_bytes(splats.read_bytes()[:900])
    status, _, error = run_cli("view", tmp_path / "bad.ply")
    assert status == 2 and "bad.ply" in error
