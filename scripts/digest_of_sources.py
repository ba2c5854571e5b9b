"""Prints a digest of files and folders, by which setup.sh knows whether they have changed. Build products do not count.

python digest_of_sources.py TEXT PATH...     TEXT is anything else that matters, for example a compiler's version
"""

import hashlib
import sys
from pathlib import Path

_PRODUCTS = {"build", "dist", "__pycache__"}


def digest_of(text: str, roots: list[Path]) -> str:
    """SHA-256 of `text` and of the names and contents of the files in `roots`."""
    digest = hashlib.sha256(text.encode())
    for root in roots:
        for path in sorted(root.rglob("*")) if root.is_dir() else [root]:
            inner = path.relative_to(root).parts
            is_product = _PRODUCTS & set(inner) or any(part.endswith(".egg-info") or part[0] == "." for part in inner)
            if path.is_file() and not is_product and path.suffix not in (".so", ".pyc", ".o"):
                digest.update(f"{path}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()


if __name__ == "__main__":
    print(digest_of(sys.argv[1], [Path(argument) for argument in sys.argv[2:]]))
