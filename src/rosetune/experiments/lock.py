"""One process a folder: a lock that ends with the process that holds it, however that ends."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from rosetune.experiments.errors import FolderError, HeldError

__all__ = ["LOCK", "check_free", "locked"]

LOCK = ".lock"


@contextmanager
def locked(folder: Path, *, wait: bool = False) -> Iterator[None]:
    """Hold a run's folder.

    The operating system takes the lock back when the process ends, killed or not; the file that stays behind says
    nothing by itself. Where the system knows no such locks (Windows), nothing is held.

    Args:
        wait: for another process that holds it, which must be a matter of moments.

    Raises:
        HeldError: another process holds it; the message has its number.
        FolderError: its file system knows no locks.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    with _held(folder / LOCK, fcntl, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB)) as file:
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        try:
            yield
        finally:
            if _is_at(file, folder / LOCK):  # the folder may have been deleted, and begun anew by another
                (folder / LOCK).unlink(missing_ok=True)


def check_free(folder: Path) -> None:
    """Refuse a folder that another process holds, without holding it: :func:`locked` says it again, after seconds.

    Raises:
        HeldError: see there.
    """
    with suppress(ImportError, FileNotFoundError):
        import fcntl

        with open(folder / LOCK, encoding="utf-8") as file:
            _take(file, folder / LOCK, fcntl, fcntl.LOCK_SH | fcntl.LOCK_NB)


def _held(path: Path, fcntl: Any, how: int) -> TextIO:
    while True:
        file = open(path, "a+", encoding="utf-8")  # noqa: SIM115 (the caller closes it); "a+" keeps the holder's number
        try:
            _take(file, path, fcntl, how)
        except FolderError:
            file.close()
            raise
        if _is_at(file, path):
            return file
        file.close()  # its holder has just removed it


def _take(file: TextIO, path: Path, fcntl: Any, how: int) -> None:
    try:
        fcntl.flock(file, how)
    except BlockingIOError as error:
        file.seek(0)
        holder = file.read().strip() or "unknown"
        raise HeldError(
            f"another process (number {holder}) works in {path.parent}: wait for it, or choose another folder"
        ) from error
    except OSError as error:
        raise FolderError(
            f"{path.parent} cannot be locked ({error.strerror}), which its file system must be able to: choose "
            "another folder"
        ) from error


def _is_at(file: TextIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
