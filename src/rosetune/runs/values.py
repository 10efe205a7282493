"""Values of options: read, checked, compared."""

import json
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from enum import Enum
from pathlib import Path
from typing import Any

from rosetune._files import obstacle

__all__ = [
    "RunError",
    "about",
    "as_mapping",
    "check_output",
    "differences",
    "flag",
    "flat",
    "guess",
    "names",
    "number",
    "plain",
    "read_yaml",
    "yaml_errors",
]


class RunError(ValueError):
    """A run that cannot be started, resumed or read as asked; the message says what to do."""


def about(text: str, metavar: str | None = None) -> dict[str, Any]:
    """The metadata of a dataclass field: its one description, which the command line shows too."""
    return {"help": text, "metavar": metavar}


def check_output(option: str, path: str | os.PathLike[str]) -> Path:
    """Find out before any work whether a file can be written; folders that are missing are made with it.

    Args:
        option: that names the file.

    Returns:
        The path, with a home folder in the place of ``~``.

    Raises:
        RunError: it is a folder, or its place cannot be written to.
    """
    file = Path(path).expanduser()
    if file.is_dir():
        raise RunError(f"{option} {path} is a folder: name a file")
    in_the_way = obstacle(file)
    if in_the_way is not None:
        raise RunError(f"{option} {path} cannot be written ({in_the_way}): name another file")
    return file


def differences(
    a: Mapping[str, Any], b: Mapping[str, Any], ignore: Collection[str] = ()
) -> dict[str, tuple[Any, Any]]:
    """What two configurations, or identities, differ in: by option its value in a and in b, None where it is unset.

    Args:
        a, b: options by name. Training arguments may stand in a mapping "training", a method's options in mappings of
            their own; they are compared one by one, under names such as "update_mask_kwargs.upper".
        ignore: names that do not count, with all that is in them; ".seed" stands for that option of any mapping.
    """
    old, new = flat(a, ignore), flat(b, ignore)
    pairs = {name: (old.get(name), new.get(name)) for name in sorted({*old, *new})}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def flat(options: Mapping[str, Any], ignore: Collection[str] = ()) -> dict[str, Any]:
    """A configuration, or an identity, as one mapping, with names as :func:`differences` has them.

    Args:
        ignore: as there.
    """
    found: dict[str, Any] = {}
    for name, value in {**options, **(options.get("training") or {}), "training": None}.items():
        found |= {f"{name}.{part}": v for part, v in value.items()} if isinstance(value, Mapping) else {name: value}

    def counts(name: str) -> bool:
        head, dot, last = name.partition(".")
        return not ({name, head} & {*ignore} or (dot and f".{last}" in ignore))

    return {name: value for name, value in found.items() if counts(name) and value is not None}


def guess(name: str, known: Iterable[str]) -> str:
    """What a mistaken name may mean: the nearest of some, or all of them."""
    there = list(known)
    near = get_close_matches(name, there, n=1)
    return f"did you mean {near[0]}?" if near else f"choose among {', '.join(there)}"


def read_yaml(path: str | os.PathLike[str]) -> dict[str, Any]:
    """A YAML file of options as a flat mapping.

    Raises:
        RunError: it is missing, no YAML, or no mapping.
    """
    with yaml_errors(path):
        loaded = _load(Path(path).read_text(encoding="utf-8"))
    if not isinstance(loaded, dict):
        raise RunError(f"{path} must hold a mapping of options, such as `task: sst2`")
    return {str(key): value for key, value in loaded.items()}


@contextmanager
def yaml_errors(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turns what goes wrong while a YAML file is read into a :class:`RunError` of one line."""
    import yaml

    try:
        yield
    except RunError:
        raise
    except OSError as error:
        raise RunError(f"cannot read the config file {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise RunError(f"{path} is not UTF-8: {error.reason} at byte {error.start}") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = "" if mark is None else f", line {mark.line + 1}"
        problem = getattr(error, "problem", None) or str(error)
        raise RunError(f"{path}{place} is not valid YAML: {problem}") from error
    except (ValueError, RecursionError) as error:  # of a date such as 2020-13-45, of a file of nothing but brackets
        raise RunError(f"{path} is not valid YAML: {error}") from error


def _load(text: str) -> Any:
    """By the loader in C, which is ten times as fast, where there is one; the other explains mistakes.

    Tens of thousands of nested brackets make the loader in C crash, so that it gets short texts alone.
    """
    import yaml

    fast = getattr(yaml, "CSafeLoader", None)
    try:
        return yaml.load(text, Loader=fast if fast is not None and len(text) < 4_000 else yaml.SafeLoader)
    except yaml.YAMLError:
        return yaml.safe_load(text)


def names(option: str, value: Any) -> tuple[str, ...] | None:
    """Names from a list or from text such as "a,b"; None stays None.

    Raises:
        RunError: anything else.
    """
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",") if part.strip()]
    if value is None:
        return None
    if not isinstance(value, list | tuple) or not all(isinstance(part, str) for part in value):
        raise RunError(f"{option} must be names such as a,b, not {value!r}")
    return tuple(value)


def number(option: str, value: Any, whole: bool, least: int = 1) -> float:
    """A whole number from ``least`` up, or a share in (0, 1).

    Raises:
        RunError: anything else.
    """
    try:
        number = float("nan") if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = float("nan")
    if whole and not (number.is_integer() and number >= least):
        raise RunError(f"{option} must be a whole number of at least {least}, not {value!r}")
    if not whole and not 0.0 < number < 1.0:
        raise RunError(f"{option} must lie in (0, 1), not {value!r}")
    return number


def flag(option: str, value: Any) -> bool:
    """True or false, also as a word.

    Raises:
        RunError: anything else.
    """
    known = {"true": True, "false": False, True: True, False: False}
    found = known.get(value.lower() if isinstance(value, str) else value) if isinstance(value, str | bool) else None
    if found is None:
        raise RunError(f"{option} must be true or false, not {value!r}")
    return found


def plain(value: Any) -> Any:
    """What JSON and YAML can hold, and 10.0 as 10: a command line makes floats where Python keeps integers."""
    if isinstance(value, Mapping):
        return {name: plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    if isinstance(value, Enum | os.PathLike):
        return value.value if isinstance(value, Enum) else os.fspath(value)
    return int(value) if isinstance(value, float) and value.is_integer() else value


def as_mapping(option: str, value: Any) -> Any:
    """A method's options, or other ``*_kwargs``, as a mapping also where they came as JSON; all else as it is.

    Raises:
        RunError: broken JSON, or no mapping.
    """
    if not option.endswith("_kwargs") or value is None:
        return value
    example = f"{option} must be a JSON object such as '{{\"upper\": 0.6}}', not {value!r}"
    try:
        parsed = json.loads(value) if isinstance(value, str) else value
    except json.JSONDecodeError as error:
        raise RunError(f"{example} ({error})") from error
    if not isinstance(parsed, Mapping):
        raise RunError(example)
    return dict(parsed)
