"""Opens video files: regular files in containers that hold their pictures themselves, of a bounded size.

FFmpeg would also follow playlists, concatenations and scripts to other files and addresses; a file that came by mail
must not do that. So the protocol is `file` alone and the formats are listed here.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import av.error
from av.container import InputContainer
from av.stream import Disposition

from scene.errors import InputError
from scene.files.paths import name_for_library, readable_file

#: FFmpeg's names of the formats that are opened
_FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,m4v,flv,asf,ogg,gif,apng,mxf,dv,rm,nut,wtv,ivf,obu,"
    "h261,h263,h264,hevc,vvc,av1,vc1,cavsvideo,dirac,yuv4mpegpipe,mjpeg,mjpeg_2000,gxf,swf,nsv,nuv,vob,amv,roq,cine,ser,"
    "webp,webp_anim,jpegxl_anim"
)
#: more pixels than a frame of any camera: the largest spherical cameras have 11520x5760
MAX_FRAME_PIXELS = 1 << 26
#: pictures of more pixels are decoded in slices rather than in several frames at once, for less memory
_LARGE = 20_000_000
#: the index and tags after the last picture of a Matroska file are not larger, but for a twentieth of it
_INDEX_BYTES = 1536
#: how texts begin that name other files
_PLAYLISTS = (b"#extm3u", b"ffconcat", b"[playlist]", b"<?xml", b"<mpd", b"<smil", b"<asx", b"v=0", b"[reference]")
_STILL_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"mif1", b"avif")
#: tracks that are no clip: covers and thumbnails
_COVERS = Disposition.attached_pic | Disposition.timed_thumbnails


@contextmanager
def open_container(path: Path) -> Iterator[InputContainer]:
    """Raises `InputError` for what is not a regular file with a video that can be decoded."""
    head = _head(path)
    _refuse_other_kinds(path, head)
    options = {
        "protocol_whitelist": "file",
        "format_whitelist": _FORMATS,
        "max_pixels": str(MAX_FRAME_PIXELS),
        "max_streams": "100",
    }
    try:
        with name_for_library(path) as name:
            # with a protocol, so that a colon in the name of a file is not taken for one
            container = av.open(f"file:{name}", options=options, metadata_errors="replace")
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; check the path.") from None
    except PermissionError:
        raise InputError(f"{path} may not be read; check its permissions.") from None
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise InputError(
            f"{path} is not a video that can be decoded ({plain_error(error)}); it is damaged, cut off or of another "
            "kind."
        ) from error
    with container:
        yield container


def _head(path: Path) -> bytes:
    readable_file(path, "a video or a folder of images")
    try:
        with path.open("rb") as file:
            head = file.read(64)
    except PermissionError:
        raise InputError(f"{path} may not be read; check its permissions.") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error
    if not head:
        raise InputError(f"{path} is empty (0 bytes); give a video or a folder of images.")
    return head


def _refuse_other_kinds(path: Path, head: bytes) -> None:
    if head.removeprefix(b"\xef\xbb\xbf").lstrip().lower().startswith(_PLAYLISTS):
        raise InputError(
            f"{path} is not a video but a text that names others, such as a playlist; give the video itself."
        )
    if head[4:8] == b"ftyp" and head[8:12] in _STILL_BRANDS:
        raise InputError(f"{path} is a picture, not a video; name it .heic or .avif, or give a folder of pictures.")
    if head[:6] in (b"GIF87a", b"GIF89a"):
        check_frame_size(path, int.from_bytes(head[6:8], "little"), int.from_bytes(head[8:10], "little"))


def check_frame_size(path: Path, width: int, height: int) -> None:
    """Raises `InputError` for frames of more pixels than is sensible."""
    if width * height > MAX_FRAME_PIXELS:
        raise InputError(
            f"{path} has frames of {width}x{height} pixels by its header, more than is sensible; check the file or "
            "make it smaller."
        )


def picture_stream(path: Path, container: InputContainer) -> "av.VideoStream":
    """The video stream that is the clip: covers and thumbnails, which may come first, are passed over."""
    streams = [stream for stream in container.streams.video if not stream.disposition & _COVERS]
    if not streams:
        covers = " but a cover picture" if container.streams.video else ""
        raise InputError(f"{path} has no video stream{covers}; give a file with one.")
    best = container.streams.best("video")
    stream = next((stream for stream in streams if best is not None and stream.index == best.index), streams[0])
    if stream.codec_context is None or not stream.codec_context.name:
        raise InputError(f"{path} has a video stream of a kind that cannot be decoded; convert it to H.264 in MP4.")
    context = stream.codec_context
    check_frame_size(path, context.width, context.height)
    context.options = {"max_pixels": str(MAX_FRAME_PIXELS)}
    stream.thread_type = "SLICE" if context.width * context.height > _LARGE else "AUTO"
    return stream


def missing_end(path: Path, container: InputContainer, stream: "av.VideoStream", last_byte: int) -> str | None:
    """What of a file cannot be read because it was cut off or is broken inside, by the places that its own index or
    header names; None for a whole file. `last_byte`: where the last packet ended that was read, of any stream.

    Counts and durations that a header declares are not looked at: they are wrong in trimmed files and in those with
    sound that lasts longer.
    """
    size = path.stat().st_size
    if container.format.name.startswith("mov"):
        beyond = sum(entry.pos + entry.size > size for entry in stream.index_entries)
        return f"{beyond} frame{'s' if beyond != 1 else ''}" if beyond else None
    promised = _promised_size(path, container.format.name)
    if promised > size:
        return f"{promised - size} of {promised} bytes"
    unread = size - last_byte
    if promised and container.format.name.startswith("matroska") and unread > _INDEX_BYTES + size // 20:
        return f"{unread} of {size} bytes"
    return None


def _promised_size(path: Path, format_name: str) -> int:
    """How large a Matroska or AVI file should be by its header; 0 when that is not known."""
    with path.open("rb") as file:
        head = file.read(1 << 16)
    if format_name == "avi" and head[:4] == b"RIFF":
        length = int.from_bytes(head[4:8], "little")
        return 0 if length >= 0x7FFF0000 else length + 8  # recorders that never came to write it
    segment = head.find(b"\x18\x53\x80\x67") + 4  # the EBML identifier of the segment, which holds all (RFC 9559)
    if not format_name.startswith("matroska") or segment < 4 or segment >= len(head) or head[segment] == 0:
        return 0
    width = 9 - head[segment].bit_length()
    length = int.from_bytes(head[segment : segment + width], "big") & ((1 << 7 * width) - 1)
    return 0 if length == (1 << 7 * width) - 1 else segment + width + length


def plain_error(error: BaseException) -> str:
    """The words of an error of FFmpeg or the system."""
    text = getattr(error, "strerror", None) or str(error)
    return text.strip().rstrip(".").lower()
