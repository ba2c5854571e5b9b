"""A page where a video is dropped: upload, choice of the predictor, progress. Of predictors it knows the names."""

import queue
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from scene.files.atomic import atomic_file
from viewer.server import close_server, open_server

#: larger uploads would not fit into the memory of small machines; a path on the command line has no limit
_LARGEST = 1_000_000_000
_STAGES = 6


@dataclass(frozen=True)
class Wish:
    """What a person asks for."""

    video: Path
    predictor: str
    iterations: int


class DropPage:
    """A context manager around the page. Videos are stored in `uploads`. It is a `scene.progress.Progress` as well.
    Raises `InputError` as `open_server` does."""

    def __init__(self, uploads: Path, predictors: Sequence[str], *, host: str = "127.0.0.1", port: int = 8080) -> None:
        self._uploads = uploads
        self._wishes: queue.Queue[Wish] = queue.Queue()
        self._video: Path | None = None
        self._done: dict[str, tuple[int, int]] = {}
        self.server = open_server(host, port, "Stillsplat", options=("--host", "--port"))
        gui = self.server.gui
        gui.add_markdown("### From a video to a static scene\nChoose a video, then start. The result appears here.")
        self._upload = gui.add_upload_button("Choose a video", mime_type="video/*")
        self.words = gui.add_markdown("No video yet.")
        self._predictor = gui.add_dropdown("Predictor", tuple(predictors), initial_value=predictors[0])
        self._iterations = gui.add_slider("Iterations", min=250, max=8000, step=250, initial_value=2000)
        self._start = gui.add_button("Start", disabled=True)
        self.bar = gui.add_progress_bar(0.0, visible=False)
        self.stages = gui.add_markdown("")
        self._upload.on_upload(lambda event: self.receive(self._upload.value))
        self._start.on_click(lambda event: self.start())

    def __enter__(self) -> "DropPage":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        close_server(self.server)

    @property
    def url(self) -> str:
        """Where to look, on this machine."""
        host = self.server.get_host()
        return f"http://{'127.0.0.1' if host in ('0.0.0.0', '::', '') else host}:{self.server.get_port()}"

    def receive(self, upload: Any) -> None:
        """Stores an upload, an object with `name` and `content`."""
        if len(upload.content) > _LARGEST:
            self.words.content = "This video is larger than 1 GB; give it to stillsplat run by its path."
            return
        name = Path(upload.name.replace("\\", "/"))
        stem = re.sub(r"[^A-Za-z0-9_-]+", "-", name.stem).strip("-")[:60] or "video"
        suffix = re.sub(r"[^a-z0-9.]", "", name.suffix.lower())[:8] or ".mp4"
        path = self._uploads / (stem + suffix)
        with atomic_file(path) as temporary:
            temporary.write_bytes(upload.content)
        self._video = path
        self.words.content = f"**{path.name}**, {len(upload.content) / 1e6:.1f} MB."
        self._start.disabled = False

    def start(self) -> None:
        """Asks for the result of the video that was uploaded last."""
        if self._video is not None and not self._start.disabled:
            self._start.disabled = True
            self._wishes.put(Wish(self._video, str(self._predictor.value), int(self._iterations.value)))

    def next_wish(self) -> Wish:
        """Waits for a person; Ctrl-C ends it."""
        while True:
            try:
                return self._wishes.get(timeout=0.3)
            except queue.Empty:
                continue

    def __call__(self, stage: str, done: int, total: int) -> None:
        self._done[stage] = done, total
        self.bar.visible, self.bar.value = True, 100.0 * done / max(total, 1)
        latest = list(self._done.items())[-_STAGES:]
        self.stages.content = "\n".join(f"- {name}: {count} of {of}" for name, (count, of) in latest)

    def refuse(self, sentence: str) -> None:
        """Shows why there is no result; another video may be given."""
        self.words.content = f"**{sentence}**"
        self.bar.visible, self.stages.content, self._done = False, "", {}
        self._start.disabled = self._video is None
