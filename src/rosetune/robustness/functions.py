"""A model that is a function in somebody's module: found by name, told from others by its source, kept in a folder."""

import hashlib
import json
import re
import sys
from collections.abc import Callable, Mapping
from importlib import import_module, invalidate_caches
from importlib.util import find_spec
from operator import attrgetter
from pathlib import Path
from typing import Any

__all__ = ["FILE", "import_function", "is_function_name", "read_function", "root_of", "source_hash", "source_of"]

FILE = "callable.json"  # in the place of a run's weights
_WORD = r"[^\W\d]\w*(?:\.[^\W\d]\w*)*"
_NAME = re.compile(f"{_WORD}:{_WORD}")
_ROOTS: set[str] = set()  # folders that stand in Python's path for a function's sake
_KEPT = ("__main__", __name__.partition(".")[0])  # modules that are never forgotten, wherever they lie


def is_function_name(name: str) -> bool:
    """Whether a name is that of a function, ``module:function``; what lies there as a folder is none."""
    return _NAME.fullmatch(name) is not None and not Path(name).exists()


def source_of(name: str, root: str | None = None) -> Path:
    """The file of a function's module, without running it; packages that it lies in are imported.

    Args:
        name: ``module:function``.
        root: folder that modules are looked for in first; None: the working folder.

    Raises:
        ValueError: there is no such module, or it has no file of its own.
    """
    module, place = name.partition(":")[0], str(Path(root or ".").resolve())
    _look_first_in(place)
    invalidate_caches()  # a file may be newer than what Python knows of its folder
    try:
        spec = find_spec(module)
    except Exception as error:
        if module.endswith(".py"):
            raise ValueError(_without_ending(name)) from error
        raise ValueError(_not_imported(module, error)) from error
    if spec is None:
        raise ValueError(
            f"{name}: there is no module {module} in {place} nor where Python looks for modules; give MODULE:FUNCTION "
            "from the folder that holds the module"
        )
    if spec.origin is None or not Path(spec.origin).is_file():
        raise ValueError(f"{name}: the module {module} has no file of its own: write the function into one")
    return Path(spec.origin)


def source_hash(path: Path) -> str:
    """SHA-256 of a module's file: what it imports or loads, such as weights, is not in it."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def import_function(name: str, root: str | None = None) -> Callable[[list[Any]], Any]:
    """The function of a name.

    Args:
        name, root: as in :func:`source_of`.

    Raises:
        ValueError: its module cannot be imported, holds nothing of that name, or something that is no function.
    """
    source = source_of(name, root)
    module, _, attribute = name.partition(":")
    try:
        loaded = import_module(module)
    except (Exception, SystemExit) as error:
        raise ValueError(_not_imported(module, error, source)) from error
    try:
        found = attrgetter(attribute)(loaded)
    except AttributeError as error:
        raise ValueError(f"{source} holds no {attribute}: give MODULE:FUNCTION by a name that is in it") from error
    if isinstance(found, type) or not callable(found):
        kind = "class" if isinstance(found, type) else type(found).__name__
        article = "an" if kind[0].lower() in "aeiou" else "a"
        raise ValueError(
            f"{name} is {article} {kind}: give a function from a list of texts to a row of probabilities each"
        )
    return found


def read_function(folder: Path) -> Mapping[str, Any] | None:
    """What a run's folder, or its folder ``model``, keeps of a function; None where it holds another model.

    Returns:
        ``callable`` (its name), ``outputs`` and ``labels`` (names in the order of its columns, and of the run),
        ``normalize`` (steps that go before), ``root`` (the folder that its module was found from) and ``sha256``.

    Raises:
        ValueError: the file is damaged, or the module's source is not what it was.
    """
    path = next((place / FILE for place in (folder, folder / "model") if (place / FILE).is_file()), None)
    if path is None:
        return None
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
        name, digest, root = about["callable"], about["sha256"], about["root"]
        _ = about["outputs"], about["labels"], about["normalize"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged ({error}): evaluate the function anew, in another folder") from error
    source = source_of(name, root)
    if source_hash(source) != digest:
        raise ValueError(
            f"{source} is not the file that {path} was made of: restore it, or evaluate {name} anew, in another folder"
        )
    return about


def root_of(name: str, source: Path) -> Path:
    """The folder that a module is found from."""
    package = source.parent if source.name == "__init__.py" else source
    return package.resolve().parents[name.partition(":")[0].count(".")]


def _look_first_in(place: str) -> None:
    """Let modules be found in a folder before those that other functions came from.

    Where both hold a module of one name, the other folder's is forgotten, so that the name is imported anew. What
    was imported from elsewhere, such as an installed library, stays.
    """
    if place not in sys.path:  # a command's own path is that of its script, not the working folder
        sys.path.insert(0, place)
        _ROOTS.add(place)
    at, others = sys.path.index(place), _ROOTS - {place}
    before = [folder for folder in sys.path[:at] if folder in others]
    sys.path[: at + 1] = [*(folder for folder in sys.path[:at] if folder not in others), place, *before]
    for name in [name for name in sys.modules if "." not in name and name not in _KEPT] if others else ():
        if _holds(place, name) and any(_is_of(name, root) for root in others):
            for known in [known for known in sys.modules if known.partition(".")[0] == name]:
                del sys.modules[known]


def _holds(root: str, name: str) -> bool:
    return any(path.is_file() for path in _files_of(root, name))


def _is_of(name: str, root: str) -> bool:
    """Whether a module that is there was imported from right below a folder."""
    file = getattr(sys.modules[name], "__file__", None)
    return file is not None and Path(file) in _files_of(root, name)


def _files_of(root: str, name: str) -> tuple[Path, Path]:
    return Path(root, f"{name}.py"), Path(root, name, "__init__.py")


def _without_ending(name: str) -> str:
    module, _, attribute = name.partition(":")
    return f"{name}: give the module without .py: {module.removesuffix('.py')}:{attribute}"


def _not_imported(module: str, error: BaseException, source: Path | None = None) -> str:
    said = (str(error).strip().splitlines() or ["without a word"])[0]
    place = "" if source is None else f" ({source})"
    return f"the module {module}{place} cannot be imported: {type(error).__name__}: {said}"
