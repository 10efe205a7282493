"""Files and folders that are written whole or not at all."""

import errno
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A path beside ``path`` to write a file or folder to; it takes ``path``'s place once the block ends well.

    Raises:
        IsADirectoryError: a file would take a folder's place.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    _remove(partial)
    try:
        yield partial
        if path.is_dir() and not partial.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    except BaseException:
        _remove(partial)
        raise
    if path.is_dir():
        _remove(path)  # a folder cannot be replaced in one step
    os.replace(partial, path)


def obstacle(path: str | os.PathLike[str]) -> str | None:
    """Why a file or folder cannot be written at a path, in the system's words; None where nothing is in the way.

    Nothing is made: folders that are missing come with the file.
    """
    above = next(parent for parent in Path(os.path.abspath(path)).parents if parent.exists())
    if not above.is_dir():
        return f"{above}: {os.strerror(errno.ENOTDIR)}"
    return None if os.access(above, os.W_OK | os.X_OK) else f"{above}: {os.strerror(errno.EACCES)}"


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a text file as UTF-8."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write indented JSON."""
    write_text(path, as_json(value))


def as_json(value: Any) -> str:
    """Indented JSON, as :func:`write_json` writes it."""
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def write_json_lines(path: str | os.PathLike[str], rows: Iterable[Any]) -> None:
    """Write JSON Lines, one value a line."""
    with replacing(path) as partial, open(partial, "w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def read_json_lines(path: str | os.PathLike[str]) -> list[Any]:
    """Read what :func:`write_json_lines` wrote."""
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    elif path.exists():
        path.unlink()
