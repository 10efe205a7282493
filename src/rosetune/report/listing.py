"""What `rosetune list` prints: paragraphs, which fit any terminal."""

import inspect
import json
import re
import shutil
import textwrap
from collections.abc import Mapping
from typing import Any, Literal, get_args, get_origin, get_type_hints

from rosetune.runs.values import RunError, guess

__all__ = ["attacks_text", "methods_text", "tasks_text"]

# "name, name: text" with the lines below it that are indented further, or empty.
_ENTRY = re.compile(r"^    ((?:\w+(?:, )?)+): (.*(?:\n     +.*|\n(?=\n|     ))*)", re.MULTILINE)


def tasks_text(name: str | None = None) -> str:
    """The tasks that are known by name; or one of them.

    Raises:
        RunError: there is no task of that name.
    """
    from rosetune.data.tasks import TASKS, find_task

    chosen = None if name is None else find_task(name)
    if name is not None and chosen is None:
        raise RunError(f"no task is called {name!r}: {guess(name, TASKS)}")
    paragraphs = []
    for task in TASKS.values() if chosen is None else (chosen,):
        predicted = f"labels: {', '.join(task.labels)}" if task.labels else "a number, not a class"
        labels = predicted + ("; in AdvGLUE" if task.advglue else "")
        paragraphs.append(_entry(task.name, task.description, labels))
    if chosen is not None:
        return paragraphs[0]
    own = "a CSV, TSV, JSON, JSON Lines or Parquet file, a folder with train, validation and test files, or a hub id"
    return "\n".join([*paragraphs, _wrapped(f"Or your own: {own}.", "")])


def attacks_text(name: str | None = None) -> str:
    """Attacks with what each takes; of one of them its whole description, with what it lacks.

    Raises:
        RunError: there is no attack of that name.
    """
    from rosetune.robustness.attacks.recipes import ADDS_WORDS, NEEDS_SYNONYMS, RECIPES

    if name is not None:
        if name not in RECIPES:
            raise RunError(f"no attack is called {name!r}: {guess(name, RECIPES)}")
        return f"{name}\n{textwrap.indent(_plain(inspect.cleandoc(RECIPES[name].__doc__ or '')), '    ')}"
    takes = dict.fromkeys(NEEDS_SYNONYMS, "needs --synonyms FILE or wordnet") | {"disguises": "takes --noises A,B"}
    takes |= dict.fromkeys(
        ADDS_WORDS, "takes --words FILE (default: from the training texts of the class aimed at), --added_words N"
    )
    entries = (
        _entry(known, _summary(RECIPES[known]), *((takes[known],) if known in takes else ())) for known in RECIPES
    )
    ends = (
        "rosetune attack RUN --attack NAME[,NAME]; --attack_class LABEL attacks rows of that label only, "
        "--target_class LABEL wants that label. textattack:NAME is a recipe of TextAttack, where that is installed.",
        "`rosetune list attacks NAME` says what one does, and what it lacks of its paper.",
    )
    return "\n".join([*entries, *(_wrapped(text, "") for text in ends)])


def methods_text(name: str | None = None) -> str:
    """The methods of every axis with their options and defaults; one that there is with what each option means."""
    from rosetune.augmentation import AUGMENTATIONS
    from rosetune.averaging import AVERAGINGS
    from rosetune.methods import OBJECTIVES, UPDATE_MASKS

    axes: dict[str, Mapping[str, type]]
    axes = {"objective": OBJECTIVES, "update_mask": UPDATE_MASKS}
    axes |= {"augmentation": AUGMENTATIONS, "averaging": AVERAGINGS}
    if name is None:
        return "\n".join(_methods(axis, methods) for axis, methods in axes.items())
    axis = next(axis for axis, methods in axes.items() if name in methods)
    return _method(axis, name, axes[axis][name])


def _methods(axis: str, methods: Mapping[str, type]) -> str:
    title = f"--{axis} NAME --{axis}_kwargs '{{\"option\": value}}'\n"
    entries = (_entry(name, _summary(method), _options(method)) for name, method in methods.items())
    return "\n".join([title, *entries, _wrapped("`rosetune list methods NAME` explains the options of one.", ""), ""])


def _method(axis: str, name: str, method: type) -> str:
    """One method: summary, usage, and each option with its default, values and meaning."""
    usage = f"--{axis} {name} --{axis}_kwargs '{{\"option\": value}}'"
    meanings = _described(method)
    lines = [name, _wrapped(_summary(method), "    "), f"    {usage}", ""]
    hints = get_type_hints(vars(method)["__init__"])
    for option in inspect.signature(method).parameters.values():
        values = get_args(hints.get(option.name)) if get_origin(hints.get(option.name)) is Literal else ()
        allowed = f" ({' | '.join(map(str, values))})" if values else ""
        default = "required" if option.default is option.empty else json.dumps(option.default)
        lines += [f"    {option.name} = {default}{allowed}", _wrapped(meanings.get(option.name, ""), "        ")]
    return "\n".join(lines)


def _described(method: type) -> dict[str, str]:
    """What each option means, from the Args in the docstrings of the class and of those that it inherits from."""
    meanings: dict[str, str] = {}
    for kind in reversed(method.__mro__):
        doc = inspect.cleandoc(kind.__doc__ or "").partition("Args:\n")[2]
        section = re.split(r"^\S", doc, maxsplit=1, flags=re.MULTILINE)[0]  # the next one's title is not indented
        for names, text in _ENTRY.findall(section):
            meanings |= dict.fromkeys(names.split(", "), _plain(text))
    return meanings


def _plain(text: str) -> str:
    """A docstring without its markup."""
    return re.sub(r":(?:class|meth|func|mod|data):`~?([^`]*)`", r"\1", text).replace("``", "`")


def _summary(method: object) -> str:
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
