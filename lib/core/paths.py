"""Where things are, and how a file is written so that no reader ever sees half of it."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

__all__ = ["CACHE", "RESULTS", "ROOT", "atomic", "write_atomic"]

ROOT: Path = Path(__file__).resolve().parents[2]
"""The repository root, found from the place of this file; of an installed wheel, where `lib` is."""

# Nothing is written among installed packages.
_CACHE = (
    ROOT / ".cache"
    if (ROOT / "_config.yml").is_file()
    else Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "ten-papers-executable")
)

CACHE: Path = Path(os.environ.get("BOOK_CACHE") or _CACHE).expanduser().resolve()
"""Downloads, embeddings and sweep results; ``BOOK_CACHE`` moves it."""

RESULTS: Path = Path(os.environ.get("BOOK_RESULTS") or CACHE / "sweeps").expanduser().resolve()
"""What sweeps computed; a proof sets ``BOOK_RESULTS`` to an empty folder, so nothing is reused."""


@contextmanager
def atomic(target: Path) -> Iterator[IO[bytes]]:
    """Open a temporary file beside `target` that replaces it when the block ends without error.

    Parameters
    ----------
    target : Path
        The file to write. Its folder is made if needed.

    Yields
    ------
    IO[bytes]
        A binary file. When the block raises, it is removed and `target` stays as it was.
    """
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    # Same folder, for os.replace is atomic only within one file system.
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}.part")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_atomic(target: Path, content: bytes | str) -> Path:
    """Write `content` to `target` in one step; text is encoded as UTF-8.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_atomic(Path(folder) / "a" / "b.txt", "text").read_text()
    'text'
    """
    with atomic(target) as file:
        file.write(content.encode() if isinstance(content, str) else content)
    return Path(target)
