"""Files of weights that describe impossible networks, and servers that send without end."""

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamic_predictor.cut3r import config as cut3r
from dynamic_predictor.das3r import config as das3r
from dynamic_predictor.weights.registry import all_weights
from scene.errors import InputError
from scene.files.downloading import download
from tests.robustness.mutations import QUICK, result_or_sentence

ODD = [
    0,
    0.5,
    -1,
    10**40,
    1e300,
    float("nan"),
    float("inf"),
    True,
    None,
    "16",
    "²",
    [16],
    {"a": 1},
    "RoPE" + "9" * 5000,
]
ODD += ["RoPE²", "RoPE1", "RoPE", "x" * 5000]


@pytest.mark.parametrize("module", [das3r, cut3r], ids=["das3r", "cut3r"])
@QUICK
@given(data=st.data())
def test_odd_arguments(module, data) -> None:
    names = [*module.SIZES, *module.FIXED, "pos_embed", "head_type", "head_width", "head_stage_widths"]
    changes = st.dictionaries(st.sampled_from(names), st.sampled_from(ODD), min_size=1, max_size=3)
    result_or_sentence(lambda: module.config_from_arguments(data.draw(changes), "a.pth"))


@pytest.mark.parametrize(
    "text",
    [
        "A(enc_num_heads=" + "9" * 5000 + ")",
        "AsymmetricCroCo3DStereo(enc_num_heads=-'a')",
        "AsymmetricCroCo3DStereo(img_size=-(1, 2))",
        "AsymmetricCroCo3DStereo(" + "(" * 500 + ")" * 500 + ")",
        "AsymmetricCroCo3DStereo(pos_embed='" + "9" * (1 << 20) + "')",
        "AsymmetricCroCo3DStereo(**{'a': 1})" + "\0",
        "__import__('os').system('true')",
        "",
    ],
    ids=["digits", "minus text", "minus tuple", "nested", "long", "null", "code", "empty"],
)
def test_model_strings_are_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"^a\.pth") as error:
        das3r.arguments_from_model_string(text, "a.pth")
    assert len(str(error.value)) < 300


class _Endless(http.server.BaseHTTPRequestHandler):
    """Sends a file without end, or with a length that is none."""

    def do_GET(self) -> None:
        self.send_response(200)
        if self.path == "/odd":
            self.send_header("Content-Length", "²" if False else "9" * 4400)
        self.end_headers()
        try:
            for _ in range(200):
                self.wfile.write(bytes(1 << 20))
        except ConnectionError:
            pass

    def log_message(self, *arguments) -> None:
        pass


@pytest.fixture
def endless() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Endless)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_more_than_is_expected_is_cut_off(endless: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="sends more than 3.0 MB, which it announced"):
        download(f"{endless}/file", tmp_path / "file", size=3_000_000, pause=0.01)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", ["file", "odd"])
def test_more_than_any_file_has_is_cut_off(path: str, endless: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("scene.files.downloading.LARGEST_UNANNOUNCED", 5_000_000)
    with pytest.raises(InputError, match=r"sends more than 5.0 MB|cannot be reached"):
        download(f"{endless}/{path}", tmp_path / "file", pause=0.01)
    assert not (tmp_path / "file").exists()


def test_weights_without_a_checksum_say_so() -> None:
    for entry in all_weights().values():
        assert entry.verification.startswith("SHA-256" if entry.sha256 else "UNVERIFIED")
    assert "revision f465978e618d" in all_weights()["da3mono-large"].verification
