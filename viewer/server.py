"""The web server of the viewer: viser, on a port that is really the one that was asked for."""

import errno
import socket
from contextlib import redirect_stdout
from io import StringIO
from typing import TYPE_CHECKING

from scene.errors import InputError
from scene.installing import pip_line

if TYPE_CHECKING:
    import viser  # pyright: ignore[reportMissingImports]

#: the options of a command that give the address and the port
PlaceOptions = tuple[str, str]
VIEWER_OPTIONS: PlaceOptions = ("--viewer-host", "--viewer-port")

#: errors of an address that belongs to another machine
_NOT_HERE = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


def open_server(host: str, port: int, title: str, *, options: PlaceOptions = VIEWER_OPTIONS) -> "viser.ViserServer":
    """A server at `host`:`port`; 0 is any free port. Raises `InputError` when viser is not installed and when the
    place is taken or does not exist; `options` are named in it."""
    try:
        import viser  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise InputError(
            f"The viewer needs viser, which is not installed; install it: {pip_line('viser>=1.0')}"
        ) from error
    check_place(host, port, options=options)
    with redirect_stdout(StringIO()):  # the command says itself where the viewer is
        server = viser.ViserServer(host=host, port=port, label=title, verbose=False)
    if port and server.get_port() != port:  # viser takes the next free port instead
        server.stop()
        raise _taken(host, port, options)
    server.scene.configure_fog(1.0, 2.0, enabled=False)  # colors are those of the images at any distance
    server.gui.configure_theme(show_share_button=False)
    return server


def close_server(server: "viser.ViserServer") -> None:
    """Ends a server; browsers keep the last picture."""
    with redirect_stdout(StringIO()):
        server.stop()


def check_place(host: str, port: int, *, options: PlaceOptions = VIEWER_OPTIONS) -> None:
    """Raises `InputError` unless a server can listen there."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError) as error:
        raise InputError(f"{host} is no address of this machine; choose another with {options[0]}.") from error
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except PermissionError as error:
            raise InputError(f"Port {port} needs rights that you do not have; choose one with {options[1]}.") from error
        except OSError as error:
            if error.errno in _NOT_HERE:
                raise InputError(f"{host} is no address of this machine; choose another with {options[0]}.") from error
            raise _taken(host, port, options) from error


def _taken(host: str, port: int, options: PlaceOptions) -> InputError:
    return InputError(f"Port {port} of {host} is in use by another program; choose another with {options[1]}.")
