"""Options of the commands that have a viewer."""

from dataclasses import dataclass

from scene.errors import InputError
from scene.option import check_values, option

DEFAULT_HOST, DEFAULT_PORT = "127.0.0.1", 8080
_VIEWER = "viewer"


@dataclass(frozen=True)
class ViewerSettings:
    """Raises `InputError` for a place without a viewer and for a port that there cannot be."""

    viewer: bool = option(False, "show what is being made in a browser; stays open until Ctrl-C", group=_VIEWER)
    #: None: `DEFAULT_PORT`
    viewer_port: int | None = option(None, f"port (default: {DEFAULT_PORT})", metavar="PORT", group=_VIEWER)
    #: None: `DEFAULT_HOST`
    viewer_host: str | None = option(
        None,
        f"address to listen on (default: {DEFAULT_HOST}, this machine only; 0.0.0.0: everybody who can reach it)",
        metavar="ADDRESS",
        group=_VIEWER,
    )

    def __post_init__(self) -> None:
        check_values(self)
        for name, value in (("--viewer-port", self.viewer_port), ("--viewer-host", self.viewer_host)):
            if value is not None and not self.viewer:
                raise InputError(f"{name} is a setting of the viewer; add --viewer or leave it out.")
        if self.viewer_port is not None and not 0 <= self.viewer_port < 65536:
            raise InputError(f"--viewer-port must be between 1 and 65535, not {self.viewer_port}.")

    @property
    def host(self) -> str:
        """The address to listen on."""
        return self.viewer_host or DEFAULT_HOST

    @property
    def port(self) -> int:
        """The port; 0 is any that is free."""
        return DEFAULT_PORT if self.viewer_port is None else self.viewer_port
