"""What the viewers have in common: a server, a thread that keeps browsers up to date, and their end."""

import threading
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

from viewer.server import close_server

if TYPE_CHECKING:
    import viser  # pyright: ignore[reportMissingImports]


Viewer = TypeVar("Viewer", bound="BrowserViewer")


class BrowserViewer:
    """A context manager that closes the server. The `_worker` of a viewer waits for `_wake` and ends with `_closed`."""

    server: "viser.ViserServer"
    _worker: threading.Thread
    _wake: threading.Event
    _closed: threading.Event

    @property
    def url(self) -> str:
        """Where to look, on this machine."""
        host = self.server.get_host()
        return f"http://{'127.0.0.1' if host in ('0.0.0.0', '::', '') else host}:{self.server.get_port()}"

    def __enter__(self: Viewer) -> Viewer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the server; browsers keep the last picture."""
        if not self._closed.is_set():
            self._closed.set()
            self._wake.set()
            self._worker.join(timeout=5.0)
            close_server(self.server)
