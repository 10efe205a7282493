"""What `rosetune list` prints: paragraphs, which fit any terminal."""

import inspect
import json
import shutil
import textwrap
from collections.abc import Mapping
from typing import Any

__all__ = ["methods_text", "tasks_text"]


def tasks_text() -> str:
    """The tasks that are known by name."""
    from rosetune.data.tasks import TASKS

    paragraphs = []
    for task in TASKS.values():
        labels = f"labels: {', '.join(task.labels)}" + ("; in AdvGLUE" if task.advglue else "")
        paragraphs.append(_entry(task.name, task.description, labels))
    own = "a CSV, TSV, JSON, JSON Lines or Parquet file, a folder with train, validation and test files, or a hub id"
    return "\n".join([*paragraphs, _wrapped(f"Or your own: {own}.", "")])


def methods_text() -> str:
    """Objectives and update masks with their options and defaults."""
    from rosetune.methods import OBJECTIVES, UPDATE_MASKS

    return "\n".join((_methods("objective", OBJECTIVES), _methods("update_mask", UPDATE_MASKS)))


def _methods(axis: str, methods: Mapping[str, type]) -> str:
    title = f"--{axis} NAME --{axis}_kwargs '{{\"option\": value}}'\n"
    return "\n".join([title, *(_entry(name, _summary(method), _options(method)) for name, method in methods.items())])


def _summary(method: type) -> str:
    return (method.__doc__ or "").strip().split("\n\n")[0]


def _options(method: type) -> str:
    """Options with their defaults as JSON; a long regular expression stands for itself."""
    shown = {}
    for option in inspect.signature(method).parameters.values():
        default = "VALUE" if option.default is option.empty else json.dumps(option.default)
        shown[option.name] = default if len(default) <= 20 else "REGEX"
    return ", ".join(f"{name}={default}" for name, default in shown.items())


def _entry(name: str, *paragraphs: str) -> str:
    return "\n".join([name, *(_wrapped(text, "    ") for text in paragraphs)]) + "\n"


def _wrapped(text: str, indent: str) -> str:
    width: Any = min(shutil.get_terminal_size().columns, 100)
    return textwrap.fill(" ".join(text.split()), width, initial_indent=indent, subsequent_indent=indent)
