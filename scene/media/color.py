"""The colors of decoded video: what the numbers mean, and the way from them to sRGB as a display shows it.

Standard video is taken as display-referred, as players do. HLG and PQ (ITU-R BT.2100) become light: HLG by the inverse
of its transfer function and the system gamma 1.2 of a display of 1000 cd/m2, PQ by its own function (SMPTE ST 2084).
Diffuse white is 203 cd/m2 (ITU-R BT.2408) and becomes 1. What is brighter is compressed towards 1 where the clip has
much of it (`ToneCurve`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, Interpolation

Transfer = Literal["sdr", "linear", "hlg", "pq"]
Primaries = Literal["bt709", "bt2020", "p3"]

#: luminance of diffuse white, and of the display that HLG is made for, in cd/m2 (ITU-R BT.2408, BT.2100)
DIFFUSE_WHITE, HLG_PEAK = 203.0, 1000.0
#: codes of ITU-T H.273 that FFmpeg uses
_TRANSFERS: dict[int, Transfer] = {8: "linear", 16: "pq", 18: "hlg"}
_PRIMARIES: dict[int, Primaries] = {9: "bt2020", 11: "p3", 12: "p3"}
_MATRICES = {1: Colorspace.ITU709, 4: Colorspace.FCC, 5: Colorspace.ITU601, 6: Colorspace.SMPTE170M}
_MATRICES |= {7: Colorspace.SMPTE240M, 9: Colorspace.BT2020}
_RGB, _UNSPECIFIED, _UNSUPPORTED_MATRICES = 0, 2, {8: "YCgCo", 10: "BT.2020 constant luminance", 14: "ICtCp"}
_NAMES = {"sdr": "standard", "linear": "linear light", "hlg": "HLG", "pq": "PQ"}
_PRIMARY_NAMES = {"bt709": "BT.709", "bt2020": "BT.2020", "p3": "P3"}
#: from linear light with these primaries to that of BT.709, white D65 (ITU-R BT.2087; SMPTE EG 432-1)
_BT709_FROM = {
    "bt2020": [[1.660491, -0.587641, -0.072850], [-0.124550, 1.132900, -0.008349], [-0.018151, -0.100579, 1.118730]],
    "p3": [[1.224940, -0.224940, 0.0], [-0.042057, 1.042057, 0.0], [-0.019638, -0.078636, 1.098274]],
}
_BT2020_LUMINANCE = np.array([0.2627, 0.6780, 0.0593], np.float32)
#: light of highlights, where a hundredth of a frame is brighter
_HIGHLIGHT = 1.5
#: rows that are converted at once, to bound memory
_ROWS = 128
#: the best chroma between its samples: the default of FFmpeg's scaler costs 1.5 dB
_EXACT = (
    Interpolation.BICUBIC | Interpolation.FULL_CHR_H_INT | Interpolation.FULL_CHR_H_INP | Interpolation.ACCURATE_RND
)


@dataclass(frozen=True)
class ColorEncoding:
    """What the numbers of a decoded image mean; images in files are the default."""

    transfer: Transfer = "sdr"
    primaries: Primaries = "bt709"
    #: a code of `Colorspace` and `ColorRange` for the conversion to RGB; None: as the decoder says
    matrix: int | None = None
    full_range: bool | None = None
    bits: int = 8

    @property
    def is_display_rgb(self) -> bool:
        """Whether RGB in this encoding is shown by a display as it is."""
        return self.transfer == "sdr" and self.primaries == "bt709"

    @property
    def name(self) -> str:
        """For people and `scene.json`: "BT.2020 HLG, 10 bit"."""
        return f"{_PRIMARY_NAMES[self.primaries]} {_NAMES[self.transfer]}, {self.bits} bit"


def encoding_of(frame: av.VideoFrame, context: "av.VideoCodecContext") -> tuple[ColorEncoding, str | None]:
    """The encoding of a video by its first frame and its decoder; and what is wrong with it, or None.

    Where a stream does not name its matrix, pictures larger than standard television are BT.709, as players have it.
    """
    bits = max((component.bits for component in frame.format.components), default=8)
    transfer = _TRANSFERS.get(_code(frame, context, "color_trc"), "sdr")
    primaries = _PRIMARIES.get(_code(frame, context, "color_primaries"), "bt709")
    named = _code(frame, context, "colorspace")
    matrix = _MATRICES.get(named)
    if matrix is None and named == _UNSPECIFIED and not frame.format.is_rgb:
        if primaries == "bt2020" or transfer in ("hlg", "pq"):
            matrix = Colorspace.BT2020
        elif (frame.width >= 1280 or frame.height > 576) and "mjpeg" not in context.name:
            matrix = Colorspace.ITU709
    full = _code(frame, context, "color_range") == int(ColorRange.JPEG) or frame.format.name.startswith("yuvj")
    wrong = _UNSUPPORTED_MATRICES.get(named)
    problem = None if wrong is None else f"its colors are stored as {wrong}, which is not known here; they may be wrong"
    if problem is None and transfer == "sdr" and bits > 8 and _has_dolby_vision(frame):
        problem = "it is Dolby Vision without a picture for other displays; its colors are wrong, convert it first"
    return ColorEncoding(transfer, primaries, None if matrix is None else int(matrix), full or None, bits), problem


def _has_dolby_vision(frame: av.VideoFrame) -> bool:
    entries: Any = frame.side_data
    return any(entry.type.name.startswith("DOVI") for entry in entries)


def _code(frame: av.VideoFrame, context: "av.VideoCodecContext", name: str) -> int:
    for holder in (frame, context):
        value = getattr(holder, name, None)
        if value is not None and int(value) not in (_UNSPECIFIED if name != "color_range" else 0,):
            return int(value)
    return _UNSPECIFIED if name != "color_range" else 0


def rgb_codes(frame: av.VideoFrame, encoding: ColorEncoding, *, deep: bool) -> np.ndarray:
    """RGB (H, W, 3) in the transfer function and primaries of the video: uint8, or `deep` uint16 (65535 = full)."""
    chosen = {} if encoding.matrix is None else {"src_colorspace": encoding.matrix}
    if encoding.full_range:
        chosen |= {"src_color_range": int(ColorRange.JPEG)}
    if deep:
        return frame.reformat(format="rgb48le", interpolation=_EXACT, **chosen).to_ndarray()
    return frame.reformat(format="rgb24", **chosen).to_ndarray()


def alpha_of(frame: av.VideoFrame) -> np.ndarray | None:
    """The alpha of a frame, uint8 (H, W); None where its format has none, or where a writer left it 0 everywhere."""
    if not any(component.is_alpha for component in frame.format.components):
        return None
    alpha = np.ascontiguousarray(frame.reformat(format="rgba").to_ndarray()[..., 3])
    return alpha if alpha.any() else None


@dataclass(frozen=True)
class Light:
    """The light that a hundredth of a frame's pixels exceeds, and a thousandth, in units of diffuse white."""

    bright: float
    peak: float


@dataclass(frozen=True)
class ToneCurve:
    """Brings light to [0, 1]: as it is up to `knee`, then a hyperbola that reaches 1 at `peak` (both in units of
    diffuse white); without more light than `peak` = 1 it only clips."""

    peak: float = 1.0
    knee: float = 0.8

    def __call__(self, light: np.ndarray) -> np.ndarray:
        """Compresses linear RGB (..., 3) by its largest channel, so that hues stay."""
        light = np.maximum(light, 0.0)
        if self.peak > 1.0:
            brightest = light.max(axis=-1, keepdims=True)
            room = 1.0 - self.knee
            span = (self.peak - self.knee) / room
            # y = t (1 + a t) / (1 + t) has slope 1 at t = 0 and y = 1 at t = span
            above = np.maximum(brightest - self.knee, 0.0) / room
            bent = above * (1.0 + above / span**2) / (1.0 + above)
            light = light * np.where(above > 0, (self.knee + room * bent) / np.maximum(brightest, 1e-9), 1.0)
        return np.minimum(light, 1.0)

    @classmethod
    def of_lights(cls, lights: Sequence["Light"]) -> "ToneCurve":
        """The curve for a clip of which some frames were measured. Single pixels and the overshoot of coding at white
        edges do not count: without larger parts above white, what is white stays white."""
        if max((light.bright for light in lights), default=0.0) <= _HIGHLIGHT:
            return cls()
        return cls(max(light.peak for light in lights))


def linear_rec709(codes: np.ndarray, encoding: ColorEncoding) -> np.ndarray:
    """Linear light with the primaries of BT.709, float32 (H, W, 3), of RGB that is uint8, uint16 (full scale) or float
    in [0, 1]. 1 = diffuse white; HLG and PQ go above it, and colors outside of BT.709 have negative parts."""
    if codes.dtype == np.uint8:
        codes = codes.astype(np.uint16) * 257
    if codes.dtype == np.uint16:
        light = _light_table(encoding.transfer)[codes]
    else:
        light = _light(codes.astype(np.float32), encoding.transfer)
    if encoding.transfer == "hlg":
        # the system gamma acts on luminance: F = peak Y^(gamma - 1) E (ITU-R BT.2100, table 5)
        luminance = np.maximum(light @ _BT2020_LUMINANCE, 0.0)
        light *= (np.float32(HLG_PEAK / DIFFUSE_WHITE) * np.power(luminance, np.float32(0.2)))[..., None]
    if encoding.primaries != "bt709":
        light = light @ np.asarray(_BT709_FROM[encoding.primaries], np.float32).T
    return light


def decoded_display(frame: av.VideoFrame, encoding: ColorEncoding, curve: ToneCurve) -> np.ndarray:
    """A decoded frame as uint8 sRGB (H, W, 3)."""
    if encoding.is_display_rgb:
        return rgb_codes(frame, encoding, deep=False)
    return display_rgb(rgb_codes(frame, encoding, deep=True), encoding, curve)


def display_rgb(codes: np.ndarray, encoding: ColorEncoding, curve: ToneCurve) -> np.ndarray:
    """uint8 sRGB (H, W, 3) as a standard display shows it, of uint16 `codes` (H, W, 3)."""
    shown = np.empty(codes.shape, np.uint8)
    for top in range(0, len(codes), _ROWS):
        light = curve(linear_rec709(codes[top : top + _ROWS], encoding))
        shown[top : top + _ROWS] = _srgb_table()[np.rint(light * np.float32(65535.0)).astype(np.uint16)]
    return shown


def measured_light(codes: np.ndarray, encoding: ColorEncoding) -> Light:
    """How bright uint16 `codes` (H, W, 3) are."""
    step = max(1, max(codes.shape[:2]) // 512)
    bright, peak = np.quantile(linear_rec709(codes[::step, ::step], encoding).max(axis=-1), [0.99, 0.999])
    return Light(float(bright), float(peak))


def srgb_encoded(light: np.ndarray) -> np.ndarray:
    """The sRGB transfer function (IEC 61966-2-1) of linear light in [0, 1]."""
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.power(np.maximum(light, 1e-9), 1 / 2.4) - 0.055)


def _light(code: np.ndarray, transfer: Transfer) -> np.ndarray:
    """Linear light of code values in [0, 1]; of HLG the light of the scene in [0, 1], before the system gamma."""
    if transfer == "linear":
        return code
    if transfer == "hlg":
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        return np.where(code <= 0.5, code * code / 3.0, (np.exp((code - c) / a) + b) / 12.0)
    if transfer == "pq":
        m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 4096 * 128, 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
        root = np.power(np.maximum(code, 0.0), 1 / m2)
        return 10000.0 / DIFFUSE_WHITE * np.power(np.maximum(root - c1, 0.0) / (c2 - c3 * root), 1 / m1)
    return np.where(code <= 0.04045, code / 12.92, np.power((np.maximum(code, 0.0) + 0.055) / 1.055, 2.4))


@lru_cache(maxsize=8)
def _light_table(transfer: Transfer) -> np.ndarray:
    return _light(np.arange(65536) / 65535.0, transfer).astype(np.float32)


@lru_cache(maxsize=1)
def _srgb_table() -> np.ndarray:
    return np.rint(srgb_encoded(np.arange(65536) / 65535.0) * 255.0).astype(np.uint8)
