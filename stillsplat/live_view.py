"""A command's viewer: shows predictions while they are made, and answers queries of unseen views with the predictor."""

from types import TracebackType

import numpy as np

from dynamic_predictor.contract import Prediction, Predictor, ViewQueryPredictor, Views
from scene.camera import Camera
from scene.progress import Progress, note_progress
from scene.scene import Scene
from viewer.scene_viewer import QueriedView, SceneViewer
from viewer.settings import ViewerSettings


class LiveView:
    """A context manager around a `SceneViewer`. Raises `InputError` when it cannot be opened."""

    def __init__(self, settings: ViewerSettings, title: str) -> None:
        self.viewer = SceneViewer(title, host=settings.host, port=settings.port, live=True)

    def __enter__(self) -> "LiveView":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.viewer.close()

    def attach(self, predictor: Predictor) -> None:
        """Lets browsers ask `predictor` for views that it was not given, if it can answer."""
        if isinstance(predictor, ViewQueryPredictor):
            self.viewer.answer_with(lambda camera: queried_view(predictor, camera))

    def on_prediction(self, frame: int, view: Views, prediction: Prediction) -> None:
        """Shows a frame; see `driver.stream.OnPrediction`."""
        image, camera = view.frames.rgb8(0), prediction.cameras()[0]
        motion = None if prediction.motion is None else prediction.motion[0]
        self.viewer.show_frame(frame, image, camera, prediction.z_depth[0], prediction.confidence[0], motion)
        self.viewer.answer_queries()

    def progress(self, progress: Progress) -> Progress:
        """`progress`, whose notes also stand in the viewer."""
        return _NotedProgress(progress, self.viewer)

    def show_result(self, scene: Scene, progress: Progress) -> None:
        """Shows the finished scene, whose loops are closed and whose motion masks are known."""
        self.viewer.show_scene(scene, progress=progress)


class _NotedProgress:
    def __init__(self, progress: Progress, viewer: SceneViewer) -> None:
        self._progress, self._viewer = progress, viewer

    def __call__(self, stage: str, done: int, total: int) -> None:
        self._progress(stage, done, total)

    def note(self, stage: str, words: str) -> None:
        note_progress(self._progress, stage, words)
        self._viewer.say(words)


def queried_view(predictor: ViewQueryPredictor, camera: Camera) -> QueriedView:
    """What `predictor` believes that `camera` sees, as known points."""
    found = predictor.query(camera)
    known = np.isfinite(found.points).all(axis=-1) & (found.confidence > 0)
    colors = np.rint(np.clip(found.color[known], 0.0, 1.0) * 255.0).astype(np.uint8)
    return QueriedView(found.points[known], colors, found.confidence[known])
