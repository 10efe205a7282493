"""Names of methods, of their options and of the values of these, read from the source: torch takes seconds to load."""

import ast
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import rosetune
from rosetune._axes import check_name, check_options

__all__ = ["check_methods", "method_names", "method_options"]

# Of each axis the package, and the table of names in its __init__.py.
_TABLES = {
    "objective": ("methods", "OBJECTIVES"),
    "update_mask": ("methods", "UPDATE_MASKS"),
    "augmentation": ("augmentation", "AUGMENTATIONS"),
    "averaging": ("averaging", "AVERAGINGS"),
}


def check_methods(training: Mapping[str, Any]) -> None:
    """Refuse a name that no method has, an option that its method has not, and a value that is none of its values.

    Numbers are left to the methods, which know their ranges.

    Args:
        training: arguments, as :class:`~rosetune.runs.config.RunConfig` holds them.

    Raises:
        ValueError: in the words of :func:`~rosetune.methods.build`.
    """
    for axis in _TABLES:
        name, given = training.get(axis), training.get(f"{axis}_kwargs") or {}
        if name is None or not isinstance(given, Mapping):
            continue
        known = _methods(axis)
        others = {other: _methods(other) for other in ("objective", "update_mask")}
        check_name(axis, name, {axis: known} | (others if axis in others else {}))
        options = method_options(axis, name)
        check_options(axis, name, given, options)
        for option, value in given.items():
            values = options[option]
            if values and value not in values:
                raise ValueError(f"{option} must be one of {', '.join(values)}, not {value!r}")


def method_names() -> list[str]:
    """The methods of every axis, in the order of the axes."""
    return [name for axis in _TABLES for name in _methods(axis)]


def method_options(axis: str, name: str) -> dict[str, tuple[str, ...]]:
    """The options of a method in their order, each with the names that it may have; none where it is open."""
    package, _ = _TABLES[axis]
    path, kind = _methods(axis)[name]
    return {option: _names(annotation) for option, annotation in _options(package, path, kind).items()}


@cache
def _methods(axis: str) -> dict[str, tuple[Path, str]]:
    """File and class of each method of an axis."""
    package, table = _TABLES[axis]
    path = _file(f"rosetune.{package}.__init__")
    found = next(
        node.value
        for node in _tree(path).body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == table
    )
    assert isinstance(found, ast.Dict)
    pairs = zip(found.keys, found.values, strict=True)
    names = {ast.literal_eval(ast.unparse(key)): ast.unparse(kind) for key, kind in pairs if key is not None}
    return {name: (_imported(path, kind) or path, kind) for name, kind in names.items()}


def _options(package: str, path: Path, kind: str) -> dict[str, str]:
    """The annotation of each argument of a class."""
    body = next(node for node in _tree(path).body if isinstance(node, ast.ClassDef) and node.name == kind)
    made = next((node for node in body.body if isinstance(node, ast.FunctionDef) and node.name == "__init__"), None)
    if made is not None:
        return {arg.arg: ast.unparse(arg.annotation or ast.Constant("")) for arg in made.args.args[1:]}
    own = {
        node.target.id: ast.unparse(node.annotation)
        for node in body.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and not _is_hidden(node)
    }
    for base in body.bases:  # a data class of ours, whose fields are keywords and come last
        where = _imported(path, base.id) if isinstance(base, ast.Name) else None
        if isinstance(base, ast.Name) and where is not None:
            own |= _options(package, where, base.id)
    return own


def _is_hidden(field: ast.AnnAssign) -> bool:
    """Whether it is none of the arguments: a ClassVar, or field(init=False)."""
    keywords = field.value.keywords if isinstance(field.value, ast.Call) else []
    unset = any(word.arg == "init" and ast.literal_eval(word.value) is False for word in keywords)
    return unset or ast.unparse(field.annotation).startswith("ClassVar")


def _names(annotation: str) -> tuple[str, ...]:
    """Of Literal["a", "b"]."""
    found = re.fullmatch(r"Literal\[(.*)\]", annotation)
    return () if found is None else tuple(ast.literal_eval(f"({found[1]},)"))


def _imported(path: Path, name: str) -> Path | None:
    """The file of ours that a file has a name from; None of another package's."""
    for node in _tree(path).body:
        if isinstance(node, ast.ImportFrom) and any(alias.name == name for alias in node.names):
            return _file(str(node.module)) if str(node.module).startswith("rosetune.") else None
    return path


def _file(module: str) -> Path:
    """Of a module of ours."""
    return Path(rosetune.__file__).parent.joinpath(*module.split(".")[1:]).with_suffix(".py")


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))
