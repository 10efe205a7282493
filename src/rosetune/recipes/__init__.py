"""Published hyper-parameters: one YAML file a method, each value with its source.

A file holds ``shared:`` (what all recipes of the method have), ``tasks:`` (what a task has with every model) and, for
each model, ``shared:`` and its tasks. The later of these layers wins, value by value. A name in a file's layers is an
option of ``rosetune train --config``; the comment at a value and above it is its source.
"""

import difflib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

__all__ = ["load_recipe", "method_axes", "method_names", "recipe_names", "recipe_text"]

_SHARED, _TASKS = "shared", "tasks"
# Options of these groups come first in a recipe's text, a blank line between groups.
_GROUPS: tuple[tuple[str, ...], ...] = (
    ("task", "text_columns", "label_column", "model_name_or_path", "model_kwargs", "max_length"),
    ("objective", "objective_kwargs"),
    ("update_mask", "update_mask_kwargs"),
    ("trained_layers",),
)
# Then the Trainer's, these before the others.
_TRAINING = (
    "learning_rate",
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "num_train_epochs",
    "max_steps",
)
Path = tuple[str, ...]


@dataclass(frozen=True)
class _Entry:
    """A key of a file: its value, what stands behind it on its line, and the comment above."""

    value: Any
    written: str
    notes: tuple[str, ...]


def recipe_names() -> list[str]:
    """Every recipe as method/model/task, sorted."""
    return sorted(f"{method}/{model}/{task}" for method in _methods() for model, task in _pairs(_read(method)))


def load_recipe(name: str) -> dict[str, Any]:
    """A recipe as the keys and values of a ``--config`` file of ``rosetune train``.

    Args:
        name: method/model/task, such as "rose-ensemble/roberta-base/rte".

    Raises:
        ValueError: there is no such recipe; the message has the nearest names.
    """
    return _tree(_merged(_known(name)))


def method_axes(method: str) -> dict[str, Any] | None:
    """What makes a method, as far as its recipes share it: objective, mask, frozen layers; None for another name."""
    if method not in _methods():
        return None
    shared = _tree(_read(method), (_SHARED,))
    return {key: shared[key] for group in _GROUPS[1:] for key in group if key in shared}


def method_names() -> list[str]:
    """The methods that there are recipes of, sorted."""
    return sorted(_methods())


def recipe_text(name: str) -> str:
    """A recipe as a ``--config`` file, with the source of each value.

    Raises:
        ValueError: there is no such recipe; the message has the nearest names.
    """
    name = _known(name)
    method, model, task = name.split("/")
    lines = [*_header(_text(method), name)]
    for section in ((_TASKS, task), (model,), (model, task)):
        lines += _read(method).get(section, _Entry({}, "", ())).notes
    entries = _merged(name)
    listed = {key for group in (*_GROUPS, _TRAINING) for key in group}
    others = [path[0] for path in entries if len(path) == 1 and path[0] not in listed]
    for group in (*_GROUPS, (*_TRAINING, *others)):
        block = [line for key in group for path in entries if path[0] == key for line in _lines(path, entries[path])]
        lines += ["", *block] if block else []
    return "\n".join(lines) + "\n"


def _tree(entries: dict[Path, _Entry], below: Path = ()) -> dict[str, Any]:
    """Entries as nested mappings, those below a path."""
    tree: dict[str, Any] = {}
    for path, entry in entries.items():
        own = path[len(below) :]
        if path[: len(below)] != below or not own:
            continue
        options = tree
        for key in own[:-1]:
            options = options[key]
        options[own[-1]] = entry.value.copy() if isinstance(entry.value, list | dict) else entry.value
    return tree


def _known(name: str) -> str:
    """The name of a recipe that there is; an old spelling becomes today's, with a warning."""
    known = recipe_names()
    today = name.replace("r-drop-rose-", "r-drop+rose-", 1) if name.startswith("r-drop-rose-") else name
    if today not in known:
        near = difflib.get_close_matches(today, known, n=3, cutoff=0.4)
        hint = f"did you mean {' or '.join(near)}?" if near else "rosetune list recipes shows them all"
        raise ValueError(f"no recipe is called {name!r}: {hint}")
    if today != name:
        warnings.warn(f"the recipe {name} is called {today} now", FutureWarning, stacklevel=3)
    return today


def _methods() -> list[str]:
    return [file.name.removesuffix(".yaml") for file in files(__name__).iterdir() if file.name.endswith(".yaml")]


def _text(method: str) -> str:
    return files(__name__).joinpath(f"{method}.yaml").read_text(encoding="utf-8")


@cache
def _read(method: str) -> dict[Path, _Entry]:
    """Every key of a method's file by its path."""
    import yaml

    text = _text(method)
    return dict(_entries(yaml.compose(text, yaml.SafeLoader), yaml.safe_load(text), text.splitlines(), ()))


def _entries(node: Any, data: dict[str, Any], lines: list[str], above: Path) -> Iterator[tuple[Path, _Entry]]:
    for key_node, value_node in node.value:
        key, value = key_node.value, data[key_node.value]
        first = last = key_node.start_mark.line
        while first > 0 and lines[first - 1].lstrip().startswith("#"):
            first -= 1
        notes = tuple(line.strip() for line in lines[first:last]) if first > 0 else ()  # the file's header is no note
        written = lines[last][key_node.end_mark.column + 1 :].strip()
        path = (*above, key)
        if isinstance(value, dict):
            yield path, _Entry({}, "", notes)
            yield from _entries(value_node, value, lines, path)
        else:
            yield path, _Entry(value, written, notes)


def _pairs(entries: dict[Path, _Entry]) -> list[tuple[str, str]]:
    """The pairs of model and task that a method's file has recipes for."""
    return [
        (path[0], path[1])
        for path in entries
        if len(path) == 2 and path[0] not in (_SHARED, _TASKS) and path[1] != _SHARED
    ]


def _merged(name: str) -> dict[Path, _Entry]:
    """The options of one recipe, its layers one on top of the other."""
    method, model, task = name.split("/")
    entries = _read(method)
    merged: dict[Path, _Entry] = {("task",): _Entry(task, task, ())}
    for layer in ((_SHARED,), (_TASKS, task), (model, _SHARED), (model, task)):
        for path, entry in entries.items():
            option = path[len(layer) :]
            if path[: len(layer)] == layer and option and (entry.notes or entry.value != {} or option not in merged):
                merged[option] = entry
    return merged


def _header(text: str, name: str) -> list[str]:
    """The header of a method's file, with the recipe's name in its first line and its command."""
    title, *rest = text[: text.index(f"{_SHARED}:")].rstrip().splitlines()
    command = f"rosetune train --recipe {name} --output_dir runs/{name.replace('/', '-')}"
    return [f"{title}: {', '.join(name.split('/')[1:])}", "#", f"#   {command}", *rest]


def _lines(path: Path, entry: _Entry) -> list[str]:
    indent = "  " * (len(path) - 1)
    value = f"{indent}{path[-1]}: {entry.written}".rstrip()
    return [*(f"{indent}{note}" for note in entry.notes), value]
