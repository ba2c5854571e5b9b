"""Video files, decoded one frame after the other: upright, with square pixels, whole pictures, in display colors."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import av
import av.error
import cv2
import numpy as np
from av.container import InputContainer

from scene.media.color import (
    ColorEncoding,
    ToneCurve,
    alpha_of,
    decoded_display,
    display_rgb,
    encoding_of,
    measured_light,
    rgb_codes,
)
from scene.media.container import missing_end, open_container, picture_stream
from scene.media.fields import EVIDENCE_FRAMES, FieldEvidence, FieldOrder, Fields, WholePictures
from scene.media.integer_range import own_bits

#: interlaced video is not higher than this (1080 lines in whole blocks of 16)
_INTERLACED_HEIGHT = 1088
#: FFmpeg's codes of streams whose upper field is displayed first, and of those with the lower one first
_TOP_FIRST, _BOTTOM_FIRST = (2, 5), (3, 4)
#: places of a clip at which its brightest light is measured
_PEAK_SAMPLES = 12


@dataclass
class DecodedImage:
    """One decoded frame of a clip: `position` counts all frames of the source, `time` is in seconds from the first."""

    position: int
    time: float
    pixels: np.ndarray  #: uint8 RGB (H, W, 3), upright, square pixels
    #: uint8 (H, W), 255 = observed, 0 = transparent; None: all is observed (`scene.observed`)
    observed: np.ndarray | None = None


@dataclass
class OriginalImage:
    """A frame as its source holds it, at its full size, upright: for work that must not lose what 8 bits lack."""

    position: int
    time: float
    #: RGB (H, W, 3): uint8 as it was decoded, uint16 (65535 = full scale) of sources of more bits, or float32
    codes: np.ndarray
    #: what the codes mean; `scene.media.color.linear_rec709(codes, encoding)` gives linear light
    encoding: ColorEncoding


@dataclass(frozen=True)
class _Place:
    position: int
    time: float
    quarter_turns: int


class VideoClip:
    """A video file that can be opened; `encoding`, `fields` and `notes` (what a person should know about it, one
    sentence each) are known at once, `damage` (one sentence, or None) after the last frame."""

    def __init__(self, path: str | Path) -> None:
        """Looks at the first frames. Raises `InputError` for what is not a readable video."""
        self.path = Path(path)
        self.damage: str | None = None
        self.notes: list[str] = []
        #: how many frames the header declares; a hint, 0 where it says nothing
        self.declared = 0
        self.encoding, self.fields, self._curve = ColorEncoding(), Fields("progressive"), ToneCurve()
        self._full_scale, self._left_out = 1.0, False
        with open_container(self.path) as container:
            self._look(container, picture_stream(self.path, container))

    def description(self) -> dict[str, object]:
        """What `scene.json` records about the clip."""
        found: dict[str, object] = {"kind": "video", "color": self.encoding.name, "fields": self.fields.kind}
        if self._full_scale != 1.0:
            found["integer_full_scale"] = round(65535 / self._full_scale)
        return found

    def images(
        self,
        wanted: Callable[[int], bool],
        last_wanted: int | None = None,
        report: Callable[[int, int], None] = lambda done, declared: None,
    ) -> Iterator[DecodedImage]:
        """The frames whose position is `wanted`, in order of display, in the colors of a standard display. Decoding
        stops after `last_wanted`. `report` is told the frames done and the declared number."""
        for frame, place, aspect in self._frames(wanted, last_wanted, report):
            alpha = alpha_of(frame)
            observed = None if alpha is None else _upright(alpha, place, aspect)
            yield DecodedImage(place.position, place.time, _upright(self._display(frame), place, aspect), observed)

    def originals(self, wanted: Callable[[int], bool], last_wanted: int | None = None) -> Iterator[OriginalImage]:
        """The same frames as they are coded."""
        deep = self.encoding.bits > 8
        for frame, place, aspect in self._frames(wanted, last_wanted, lambda done, declared: None):
            codes = self._scaled(rgb_codes(frame, self.encoding, deep=deep))
            yield OriginalImage(place.position, place.time, _upright(codes, place, aspect), self.encoding)

    def _display(self, frame: av.VideoFrame) -> np.ndarray:
        if self._full_scale == 1.0:
            return decoded_display(frame, self.encoding, self._curve)
        codes = self._scaled(rgb_codes(frame, self.encoding, deep=True))
        if self.encoding.is_display_rgb:
            return ((codes.astype(np.uint32) + 128) // 257).astype(np.uint8)
        return display_rgb(codes, self.encoding, self._curve)

    def _scaled(self, codes: np.ndarray) -> np.ndarray:
        if self._full_scale == 1.0:
            return codes
        return np.rint(np.minimum(codes * np.float32(self._full_scale), 65535.0)).astype(np.uint16)

    def _frames(
        self, wanted: Callable[[int], bool], last_wanted: int | None, report: Callable[[int, int], None]
    ) -> Iterator[tuple[av.VideoFrame, _Place, Fraction | None]]:
        with open_container(self.path) as container:
            stream = picture_stream(self.path, container)
            decoder = _Decoder(container, stream, left_out=self._left_out)
            pictures = WholePictures[_Place](self.fields) if self.fields.kind != "progressive" else None
            ended = True
            for frame, place in decoder.frames():
                whole = [(frame, place)] if pictures is None else pictures.put(frame, place)
                for picture, of in whole:
                    if wanted(of.position):
                        yield picture, of, stream.sample_aspect_ratio
                report(place.position + 1, self.declared)
                # fields are only whole with their neighbors, so a few frames more are decoded
                if last_wanted is not None and place.position >= last_wanted + (0 if pictures is None else 8):
                    ended = False
                    break
            if pictures is not None:
                for picture, of in pictures.finish():
                    if wanted(of.position):
                        yield picture, of, stream.sample_aspect_ratio
            if ended:
                self._note_end(decoder, missing_end(self.path, container, stream, decoder.last_byte))

    def _note_end(self, decoder: "_Decoder", missing: str | None) -> None:
        lost = decoder.damaged
        if missing is not None:
            self.damage = f"{self.path} is damaged: {missing} at its end cannot be read and were left out."
        elif lost:
            self.damage = (
                f"{self.path} is damaged: {lost} frame{'s' if lost != 1 else ''} could not be decoded and "
                f"{'were' if lost != 1 else 'was'} left out."
            )

    def _look(self, container: InputContainer, stream: "av.VideoStream") -> None:
        """Finds out about colors and fields."""
        self.declared = stream.frames
        context = stream.codec_context
        by_flags: FieldOrder = "bottom" if _field_order(context) in _BOTTOM_FIRST else "top"
        evidence, seen, judged = FieldEvidence(), 0, False
        size: tuple[int, int, str] | None = None
        decoder = _Decoder(container, stream)
        for frame, _ in decoder.frames():
            if seen == 0:
                self.encoding, problem = encoding_of(frame, context)
                if problem is not None:
                    self.notes.append(f"{self.path}: {problem}.")
                flagged = frame.interlaced_frame or _field_order(context) in (*_TOP_FIRST, *_BOTTOM_FIRST)
                judged = (flagged or frame.height <= _INTERLACED_HEIGHT) and not frame.format.is_rgb
                size = (frame.width, frame.height, frame.format.name)
            if (frame.width, frame.height, frame.format.name) != size:
                break
            if judged:
                evidence.add(frame)
            elif not decoder.begins_without_key:
                break
            seen += 1
            if seen >= EVIDENCE_FRAMES:
                break
        self._left_out = bool(decoder.begins_without_key) and decoder.found_key
        if judged:
            self.fields = evidence.verdict(by_flags)
        self._say_fields()
        if self.encoding.transfer in ("hlg", "pq"):
            self._measure_light(container, stream)
        elif not self.encoding.is_display_rgb:
            self.notes.append(f"{self.path} has the colors {self.encoding.name}; they are brought to sRGB.")
        if self.encoding.bits == 16:
            self._measure_range()

    def _say_fields(self) -> None:
        order = "upper" if self.fields.order == "top" else "lower"
        if self.fields.kind == "interlaced":
            by = "is marked as interlaced" if self.fields.by_flags_only else "is interlaced"
            self.notes.append(f"{self.path} {by}, {order} field first; its frames are deinterlaced (bwdif).")
        elif self.fields.kind == "pulldown":
            self.notes.append(
                f"{self.path} is film in interlaced video (3:2 pulldown, {order} field first); its pictures are put "
                "together again, and the doubled one in each five is left out."
            )

    def _measure_light(self, container: InputContainer, stream: "av.VideoStream") -> None:
        lights, length = [], container.duration or 0
        for sample in range(_PEAK_SAMPLES if length > 0 else 1):
            try:
                if length > 0:
                    container.seek((container.start_time or 0) + length * sample // _PEAK_SAMPLES, backward=True)
                    stream.codec_context.flush_buffers()
                frame = next(container.decode(stream), None)
            except (av.error.FFmpegError, OSError):
                continue
            if frame is not None:
                lights.append(measured_light(rgb_codes(frame, self.encoding, deep=True), self.encoding))
        self._curve = ToneCurve.of_lights(lights)
        bright = "what is brighter is compressed" if self._curve.peak > 1.0 else "nothing in it is much brighter"
        self.notes.append(
            f"{self.path} is HDR video ({self.encoding.name}); it is brought to sRGB with white at 203 cd/m2, and "
            f"{bright}."
        )

    def _measure_range(self) -> None:
        """Of video whose format has 16 bits: how many its values use, over the whole clip."""
        largest = 0
        with open_container(self.path) as container:
            try:
                for frame in container.decode(picture_stream(self.path, container)):
                    largest = max(largest, int(rgb_codes(frame, self.encoding, deep=True).max()))
                    if own_bits(largest) == 16:
                        return
            except (av.error.FFmpegError, OSError):
                pass  # what cannot be decoded is reported when the frames are read
        bits = own_bits(largest)
        if bits < 16:
            self._full_scale = 65535 / ((1 << bits) - 1)
            self.encoding = replace(self.encoding, bits=bits)
            self.notes.append(
                f"{self.path} has 16 bits a value, but uses {bits} (up to {largest}); its values are scaled by these."
            )


class _Decoder:
    """The frames of one stream with their positions and times; counts those that cannot be decoded."""

    def __init__(self, container: InputContainer, stream: "av.VideoStream", *, left_out: bool = False) -> None:
        """`left_out`: frames before the first key frame are left out."""
        self._container, self._stream = container, stream
        self.damaged = 0
        #: where the last packet of any stream ends in the file
        self.last_byte = 0
        #: whether the stream begins in the middle of a group of pictures; None: nothing was read yet
        self.begins_without_key: bool | None = None
        self._left_out = left_out
        self._first_key: int | None = None

    def frames(self) -> Iterator[tuple[av.VideoFrame, _Place]]:
        """Positions count frames that were left out because they are damaged, but not those before the first whole
        picture of a file that was cut without decoding it."""
        rate = self._stream.average_rate or self._stream.guessed_rate or Fraction(30)
        interval = float(1 / rate) if rate > 0 else 1 / 30.0
        position, first_time, previous_time = 0, None, -np.inf
        for frame in self._decoded():
            if frame is None:
                self.damaged += 1
                continue
            if (frame.is_corrupt or self._left_out) and self._before_first_key(frame):
                continue
            if frame.is_corrupt:
                self.damaged += 1
                position += 1
                continue
            time = float(frame.pts * frame.time_base) if frame.pts is not None and frame.time_base else None
            if time is not None and first_time is None:
                first_time = time - max(0, position) * interval if position else time
            elapsed = time - first_time if time is not None and first_time is not None else position * interval
            if elapsed <= previous_time:
                elapsed = previous_time + interval
            previous_time = elapsed
            yield frame, _Place(position, elapsed, round(frame.rotation / 90) % 4)
            position += 1

    @property
    def found_key(self) -> bool:
        """Whether a key frame was read."""
        return self._first_key is not None

    def _before_first_key(self, frame: av.VideoFrame) -> bool:
        if self._first_key is None or frame.pts is None:
            return self._first_key is None
        return frame.pts < self._first_key

    def _decoded(self) -> Iterator[av.VideoFrame | None]:
        """Decoded frames; None for a packet that cannot be decoded. Ends at the first error of the container."""
        packets = self._container.demux()
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except (av.error.FFmpegError, OSError):
                yield None
                try:
                    yield from self._stream.decode(None)
                except (av.error.FFmpegError, OSError):
                    pass
                return
            if packet.pos is not None:
                self.last_byte = max(self.last_byte, packet.pos + packet.size)
            if packet.stream.index != self._stream.index:
                continue
            if self.begins_without_key is None:
                self.begins_without_key = not packet.is_keyframe
            if self._first_key is None and packet.is_keyframe:
                self._first_key = packet.pts if packet.pts is not None else packet.dts or 0
            try:
                yield from packet.decode()  # type: ignore[misc]
            except av.error.EOFError:
                return
            except (av.error.FFmpegError, OSError):
                if self._first_key is not None:
                    yield None


def _field_order(context: "av.VideoCodecContext") -> int:
    return int(getattr(context, "field_order", 0) or 0)


def _upright(pixels: np.ndarray, place: _Place, aspect: Fraction | None) -> np.ndarray:
    if aspect and aspect > 0 and aspect != 1 and Fraction(1, 4) < aspect < 4:
        # Pixels that are not square would give the camera two focal lengths.
        width = max(1, round(pixels.shape[1] * float(aspect)))
        pixels = cv2.resize(pixels, (width, pixels.shape[0]), interpolation=cv2.INTER_AREA if aspect < 1 else 2)
    return np.ascontiguousarray(np.rot90(pixels, place.quarter_turns)) if place.quarter_turns else pixels
