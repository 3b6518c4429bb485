"""Machine code in files of the user's cache folder, so that a later process need not compile.

A file is named by the hash of all that its code depends on, and holds a digest of itself: what is damaged counts as
missing.  A folder that cannot be written to, or that others may write to, is not used.
"""

import hashlib
import os
import sys
from contextlib import suppress
from pathlib import Path

from ... import whole

__all__ = ["folder", "read", "write"]

MOST_FILES = 200
MARK = b"bpfast machine code 1\n"


def folder():
    """BPFAST_CACHE, or bpfast in the platform's folder for caches; None where that is empty or there is no home."""
    given = os.environ.get("BPFAST_CACHE")
    try:
        if given is not None:
            return Path(given).expanduser() if given else None
        if sys.platform == "win32":
            base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
        elif sys.platform == "darwin":
            base = Path.home() / "Library" / "Caches"
        else:
            base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError:  # no home
        return None
    return Path(base) / "bpfast"


def _is_ours(place):
    """Whether nobody else may put machine code there."""
    if os.name != "posix":
        return True
    status = place.stat()
    return status.st_uid == os.geteuid() and not status.st_mode & 0o022


def read(key):
    """-> the bytes kept under a key (text of hexadecimal digits), or None."""
    place = folder()
    try:
        if place is None or not _is_ours(place):
            return None
        file = place / f"{key}.bin"
        data = file.read_bytes()
    except OSError:
        return None
    code = data[len(MARK) + 32 :]
    if data[: len(MARK) + 32] != MARK + hashlib.sha256(code).digest():
        return None
    with suppress(OSError):  # a folder that is only read
        os.utime(file)  # used last
    return code


def write(key, code):
    """Keep bytes under a key; whoever reads meanwhile sees all of them or none.  Does nothing where it cannot."""
    place = folder()
    if place is None:
        return
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not _is_ours(place):
            return
        whole.write(place / f"{key}.bin", MARK + hashlib.sha256(code).digest() + code)
        _remove_oldest(place)
    except OSError:
        return


def _remove_oldest(place):
    """Keep MOST_FILES, those used last; what an interrupted write left goes with the others."""
    files = []
    for file in [*place.glob("*.bin"), *place.glob("*.tmp")]:
        try:
            files.append((file.stat().st_mtime_ns, file))
        except OSError:  # another process was faster
            continue
    for _, file in sorted(files)[:-MOST_FILES]:
        file.unlink(missing_ok=True)
