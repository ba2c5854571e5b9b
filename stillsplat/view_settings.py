"""Options of `stillsplat view`."""

from dataclasses import dataclass

from scene.errors import InputError
from scene.option import check_values, option
from viewer.settings import DEFAULT_HOST, DEFAULT_PORT


@dataclass(frozen=True)
class ViewSettings:
    """Raises `InputError` for a port that there cannot be."""

    port: int = option(DEFAULT_PORT, "port", metavar="PORT")
    host: str = option(
        DEFAULT_HOST,
        "address to listen on; the default is this machine only, 0.0.0.0 everybody who can reach it",
        metavar="ADDRESS",
    )
    drop: str | None = option(
        None, "in place of RESULT: a page for dropping a video; runs are written into FOLDER", metavar="FOLDER"
    )

    def __post_init__(self) -> None:
        check_values(self)
        if not 0 <= self.port < 65536:
            raise InputError(f"--port must be between 1 and 65535, or 0 for any free one, not {self.port}.")
