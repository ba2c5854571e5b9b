"""The files of a plate: PNG of 8 or 16 bits, OpenEXR, and the video with the clip's sound."""

from collections.abc import Sequence
from pathlib import Path, PurePath
from types import ModuleType

import cv2
import numpy as np

from scene.errors import InputError
from scene.media.color import ColorEncoding, ToneCurve, display_rgb, linear_rec709, srgb_encoded

#: corners of Rec.709 and its white, for the header of OpenEXR files
_REC709 = (0.64, 0.33, 0.30, 0.60, 0.15, 0.06, 0.3127, 0.3290)
_HALF_LARGEST = 65504.0


def file_stems(names: Sequence[str] | None, positions: Sequence[int], start: int) -> list[str]:
    """Names without ending of the files of frames at `positions` of the input: those of its images `names`, or numbers
    from `start` on where it is a video."""
    if names is None:
        return [f"{start + position:05d}" for position in positions]
    chosen = [names[position] for position in positions]
    stems = [PurePath(name).stem for name in chosen]
    # two images that differ in their endings only
    return stems if len(set(stems)) == len(stems) else [name.replace(".", "_") for name in chosen]


def require_openexr() -> ModuleType:
    """The library. Raises `InputError` where it is not installed."""
    try:
        import OpenEXR
    except ImportError:
        raise InputError(
            "OpenEXR files need the package OpenEXR (python -m pip install OpenEXR); install it, or take "
            "--plate-format png16."
        ) from None
    return OpenEXR


def write_png_frame(path: Path, image: np.ndarray, alpha: np.ndarray | None) -> None:
    """Writes uint8 or uint16 RGB (H, W, 3), with `alpha` (H, W) in [0, 1] where it is not None."""
    channels = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    if alpha is not None:
        largest = np.iinfo(image.dtype).max
        channels = np.dstack([channels, np.rint(alpha * largest).astype(image.dtype)])
    encoded = cv2.imencode(".png", channels, [cv2.IMWRITE_PNG_COMPRESSION, 2])[1]
    path.write_bytes(encoded.tobytes())


def write_exr_frame(
    path: Path,
    light: np.ndarray,
    matte: np.ndarray,
    shadow: np.ndarray,
    invented: np.ndarray,
    z_depth: np.ndarray,
    alpha: np.ndarray | None,
) -> None:
    """Writes linear Rec.709 `light` (H, W, 3) in half floats, with the layers matte.Y, shadow.Y, invented.Y (half)
    and depth.Z (float), ZIP compressed. `alpha` (H, W) in [0, 1] becomes A, and colors are multiplied by it. Raises
    `InputError` where the file cannot be written."""
    openexr = require_openexr()
    half = np.clip(light if alpha is None else light * alpha[..., None], -_HALF_LARGEST, _HALF_LARGEST).astype(
        np.float16
    )
    channels: dict[str, np.ndarray] = {name: np.ascontiguousarray(half[..., axis]) for axis, name in enumerate("RGB")}
    if alpha is not None:
        channels["A"] = alpha.astype(np.float16)
    channels["matte.Y"] = matte.astype(np.float16)
    channels["shadow.Y"] = shadow.astype(np.float16)
    channels["invented.Y"] = invented.astype(np.float16)
    channels["depth.Z"] = np.ascontiguousarray(z_depth, np.float32)
    header = {"compression": openexr.ZIP_COMPRESSION, "type": openexr.scanlineimage, "chromaticities": _REC709}
    try:
        with openexr.File(header, channels) as file:
            file.write(str(path))
    except (RuntimeError, OSError) as error:
        # the library says all in one kind of error, after the name of the file
        reason = str(error).strip().rstrip(".").rpartition(". ")[2] or "unknown error"
        raise InputError(f"{path} cannot be written: {reason}; make room or choose another place.") from error


def for_display(codes: np.ndarray, encoding: ColorEncoding, curve: ToneCurve, *, deep: bool) -> np.ndarray:
    """Codes of the input (H, W, 3) as uint8 sRGB for a standard display, or uint16 where `deep`. Display codes stay
    what they are."""
    if encoding.is_display_rgb and codes.dtype.kind == "u":
        if codes.dtype == np.uint8:
            return codes.astype(np.uint16) * 257 if deep else codes
        return codes if deep else ((codes.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if not deep and codes.dtype == np.uint16:
        return display_rgb(codes, encoding, curve)
    largest, kind = (65535, np.uint16) if deep else (255, np.uint8)
    shown = np.empty(codes.shape, kind)
    for top in range(0, len(codes), 128):
        light = curve(linear_rec709(codes[top : top + 128], encoding))
        shown[top : top + 128] = np.rint(srgb_encoded(light) * largest)
    return shown
