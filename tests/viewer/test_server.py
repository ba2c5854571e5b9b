"""Where the viewer listens, and one sentence for each place where it cannot."""

import builtins
import socket
import sys

import pytest

from scene.errors import InputError
from viewer.server import check_place, open_server


@pytest.fixture
def taken():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


def test_a_port_in_use_is_one_sentence_that_names_the_option(taken):
    with pytest.raises(
        InputError, match=rf"Port {taken} of 127\.0\.0\.1 is in use .*; choose another with --viewer-port"
    ):
        check_place("127.0.0.1", taken)


@pytest.mark.parametrize("host", ["no.such.host.invalid", "192.0.2.1", "999.1.1.1"])
def test_an_address_that_is_not_here_is_one_sentence_that_names_the_option(host):
    with pytest.raises(InputError, match="is no address of this machine; choose another with --viewer-host"):
        check_place(host, 0)


def test_without_viser_a_sentence_names_the_extra(monkeypatch):
    really_import = builtins.__import__

    def no_viser(name, *arguments, **options):
        if name == "viser":
            raise ImportError(name)
        return really_import(name, *arguments, **options)

    monkeypatch.delitem(sys.modules, "viser", raising=False)
    monkeypatch.setattr(builtins, "__import__", no_viser)
    with pytest.raises(InputError, match=r"needs viser.*pip install 'viser>=1.0'"):
        open_server("127.0.0.1", 0, "title")
