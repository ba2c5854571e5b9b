"""Files of torch that others may have written: checked before torch unpacks them into memory."""

import zipfile
from pathlib import Path

from scene.errors import InputError
from scene.files.text import check_file

#: far above any checkpoint
_MAX_BYTES = 1 << 40


def check_torch_file(path: Path) -> bool:
    """Whether a file of torch is a zip archive (else it is of the older format). torch does not compress: compressed
    records, and records that share their bytes, could unpack to any size.

    Raises `InputError` for what is no regular file (a pipe would be waited for, a device never ends), for archives that
    are damaged, and for those that unpack to more than their own size.
    """
    check_file(path, _MAX_BYTES)
    try:
        if not zipfile.is_zipfile(path):
            return False
        with zipfile.ZipFile(path) as archive:
            records = archive.infolist()
            total = sum(record.file_size for record in records)
    except (OSError, ValueError, NotImplementedError, RuntimeError, zipfile.BadZipFile, EOFError):
        raise InputError(f"{path} is damaged or cut short ({path.stat().st_size} bytes); fetch it again.") from None
    if total > path.stat().st_size or any(record.compress_type != zipfile.ZIP_STORED for record in records):
        raise InputError(f"{path} is a compressed archive, which torch does not write; it is not opened.")
    return True
