"""Absurd values in JSON: one sentence from the one reader, whatever the file is."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scene.errors import InputError
from scene.files.json_files import json_text, parse_json, read_json
from tests.robustness.mutations import QUICK, damaged, result_or_sentence

ABSURD = {
    "400 digits": '{"a": 1' + "0" * 399 + "}",
    "5000 digits": '{"a": 1' + "0" * 4999 + "}",
    "400 digits and a point": '{"a": 1' + "0" * 399 + ".5}",
    "65 bits": '{"a": 18446744073709551616}',
    "1e300": '{"a": [1e300]}',
    "-1e31": '{"a": -1e31}',
    "1e999": '{"a": 1e999}',
    "NaN": '{"a": NaN}',
    "Infinity": '{"a": -Infinity}',
    "lone surrogate": '{"a": "\\ud800"}',
    "lone surrogate as a key": '{"\\uDFFF": 1}',
    "depth 900": '{"a": ' + "[" * 900 + "]" * 900 + "}",
    "depth 100000": "[" * 100_000,
    "depth 900 of objects": '{"a": ' * 900 + "1" + "}" * 900,
    "empty": "",
    "a list": "[1]",
    "text after it": '{"a": 1} x',
}


@pytest.mark.parametrize("text", ABSURD.values(), ids=list(ABSURD))
def test_absurd_values_are_one_sentence(text: str, tmp_path: Path) -> None:
    path = tmp_path / "scene.json"
    path.write_text(text)
    with pytest.raises(InputError) as error:
        read_json(path)
    assert str(path) in str(error.value) and len(str(error.value)) < 300


def test_sensible_values_are_read(tmp_path: Path) -> None:
    content = {
        "largest": 2**63 - 1,
        "float": [1e30, -1e-300, 0.1, 5e-324],
        "text": "\U0001f600 \x7f ä",
        "deep": json.loads("[" * 50 + "1" + "]" * 50),
    }
    path = tmp_path / "a.json"
    path.write_text(json.dumps(content))
    assert read_json(path) == content
    assert parse_json(b'\xef\xbb\xbf{"a": 1}', "a") == {"a": 1}
    assert parse_json('{"a": [Infinity, -Infinity]}', "a", constants=True)["a"] == [float("inf"), -float("inf")]


_VALUES = st.recursive(
    st.none() | st.booleans() | st.floats(-1e30, 1e30) | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=20,
)


@QUICK
@given(_VALUES)
def test_what_is_written_is_read_again(value: object) -> None:
    assert parse_json(json_text(value, indent=None), "a") == value


@QUICK
@given(damaged(json.dumps({"frames": [{"file": "a.png", "fx": 399.4, "m": [[1, 0], [0, 1]]}], "n": -1e-3}).encode()))
def test_damaged_json_is_a_value_or_a_sentence(content: bytes) -> None:
    result_or_sentence(lambda: parse_json(content, "a.json"))
