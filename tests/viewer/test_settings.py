"""Options of the viewer."""

import pytest

from scene.errors import InputError
from viewer.settings import ViewerSettings


def test_defaults_are_for_this_machine_only():
    settings = ViewerSettings(viewer=True)
    assert (settings.host, settings.port) == ("127.0.0.1", 8080)
    settings = ViewerSettings(viewer=True, viewer_host="0.0.0.0", viewer_port=9000)
    assert (settings.host, settings.port) == ("0.0.0.0", 9000)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"viewer_port": 9000}, "--viewer-port is a setting of the viewer; add --viewer"),
        ({"viewer_host": "0.0.0.0"}, "--viewer-host is a setting of the viewer"),
        ({"viewer": True, "viewer_port": 70000}, "between 1 and 65535, not 70000"),
    ],
)
def test_options_without_effect_are_refused(options, words):
    with pytest.raises(InputError, match=words):
        ViewerSettings(**options)
