"""Work whose results are known, which notes in a folder how often and by which process each item was done."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from scene.errors import InputError


@dataclass(frozen=True)
class CountableWork:
    """Returns the length of a name and the process that found it; fails or dies by what the name begins with."""

    folder: Path
    seconds: float = 0.0

    def __call__(self, item: str) -> dict[str, int]:
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / item).open("a") as file:
            file.write(f"{os.getpid()}\n")
        time.sleep(self.seconds)
        if item.startswith("refuse"):
            raise InputError(f"{item} is not wanted.")
        if item.startswith("break"):
            raise ZeroDivisionError("an error of ours")
        if item.startswith("kill") and (item.startswith("kill-always") or self.times(item) == 1):
            os.kill(os.getpid(), signal.SIGKILL)
        return {"length": len(item), "process": os.getpid()}

    def times(self, item: str) -> int:
        """How often an item was begun."""
        path = self.folder / item
        return len(path.read_text().splitlines()) if path.exists() else 0
