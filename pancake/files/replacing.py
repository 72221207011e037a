"""A new file in the place of an old one: whole, for the same readers, and with nothing left behind."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
import zlib
from collections.abc import Iterator
from typing import IO

try:
    import fcntl
except ImportError:  # on Windows
    fcntl = None  # type: ignore[assignment]


@contextlib.contextmanager
def replacing(path: str, owner: str = "save") -> Iterator[IO[bytes]]:
    """A new file that takes the place of the one at `path` when all has been written, and not before.

    Messages name the `owner`, who writes.
    """
    folder, name = os.path.split(path)
    check_folder(path, owner)
    old = _old_file(path, owner)
    prefix = f".pancake-{zlib.crc32(os.fsencode(name)):08x}-"  # short, as the name itself may be as long as names can be
    _clear_leftovers(folder, prefix)
    file = _locked_file(folder, prefix, 0o666 if old is None else 0o600)
    try:
        with file:
            yield file
            file.flush()
            if old is not None:
                _give_permissions(file, old)
            os.fsync(file.fileno())
            if os.name == "posix":
                os.replace(file.name, path)
        if os.name != "posix":  # where an open file cannot be renamed
            os.replace(file.name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(file.name)
        raise
    if os.name == "posix":  # so that the new name, too, outlives a power cut
        with contextlib.suppress(OSError):  # not every file system can, and not every folder may be read
            handle = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)


def check_folder(path: str | os.PathLike[str], owner: str) -> None:
    """Refuse a path whose folder is not there."""
    folder = os.path.dirname(os.fspath(path))
    if folder and not os.path.isdir(folder):
        raise FileNotFoundError(f"{owner}: there is no folder {folder!r} to write {os.path.basename(os.fspath(path))!r} into")


def _old_file(path: str, owner: str) -> os.stat_result | None:
    """What the system tells of the file at `path`, or None if there is none; refused if it is not one to replace."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(status.st_mode):
        raise ValueError(f"{owner}: {path!r} is a folder, pipe or device, which is not replaced; expected a file or a new name")
    if not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
    return status


def _give_permissions(file: IO[bytes], old: os.stat_result) -> None:
    """Let the same people read and write the file as the old one."""
    mode = stat.S_IMODE(old.st_mode) & 0o777
    if os.name == "posix":
        try:
            os.fchown(file.fileno(), -1, old.st_gid)
        except OSError:
            mode &= ~0o070  # what its group was allowed, another one is not
        with contextlib.suppress(OSError):
            os.fchown(file.fileno(), old.st_uid, -1)
    os.chmod(file.name, mode)


# A process holds a lock on the file that it writes, until that has its final name. What can be locked by another one has been
# left by a process that was killed. Without such locks (on Windows, in some network file systems) nothing is cleared.


def _locked_file(folder: str, prefix: str, mode: int) -> IO[bytes]:
    while True:
        beside = os.path.join(folder, f"{prefix}{secrets.token_hex(8)}.tmp")
        file = open(beside, "xb", opener=lambda path, flags: os.open(path, flags, mode))  # noqa: SIM115
        if fcntl is None:
            return file
        with contextlib.suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(file.fileno()).st_nlink:
            return file
        file.close()  # another process has taken it for a leftover before it was locked


def _clear_leftovers(folder: str, prefix: str) -> None:
    if fcntl is None:
        return
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(prefix) and entry.name.endswith(".tmp") and entry.is_file(follow_symlinks=False):
                with contextlib.suppress(OSError), open(entry.path, "r+b") as file:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    os.unlink(entry.path)
