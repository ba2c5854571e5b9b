"""What is kept of a stream of any length, so that server and browser stay light.

Of N frames, every `stride`-th is kept, and each has at most `points_each` points. When there are too many, the stride
doubles and the points are thinned, so that the whole stream stays in view at a coarser grain.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Budget:
    """Limits of one viewer: about 15 bytes per point in this process and 9 in the browser."""

    frames: int = 500
    points: int = 3_000_000
    points_per_frame: int = 30_000

    def stride(self, count: int) -> int:
        """The least power of two of which frames 0, stride, 2 stride, ... of `count` frames are within the limit."""
        stride = 1
        while -(-count // stride) > self.frames:
            stride *= 2
        return stride

    def points_each(self, kept: int) -> int:
        """How many points each of `kept` frames may have: `points_per_frame`, halved until all are within the limit."""
        points = self.points_per_frame
        while points > 1 and kept * points > self.points:
            points //= 2
        return points
