"""What a search tries: ranges and choices by option, from the command line or a YAML file."""

import dataclasses
import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from rosetune.experiments.quick import trainer_defaults
from rosetune.runs.config import RUN_OPTIONS, RunConfig
from rosetune.runs.values import RunError, read_yaml

__all__ = ["NAMED_SPACES", "Dimension", "check_names", "grid_points", "is_shared", "read_space", "with_options"]

# The grids of Jiang et al. 2022: learning rates from 1e-5 to 1e-4, thresholds from 10% to 90%. The paper has a
# threshold for each mask of the ensemble, its code one for both.
_RATES, _SHARES = {"learning_rate": "1e-5:1e-4:1e-5"}, "0.1:0.9:0.1"
NAMED_SPACES: dict[str, dict[str, str]] = {
    "paper": {**_RATES, "update_mask_kwargs.upper": _SHARES},
    "paper_each": {
        **_RATES,
        "update_mask_kwargs.upper.first": _SHARES,
        "update_mask_kwargs.upper.second": _SHARES,
    },
    "paper_rates": _RATES,
}
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_RANGE = re.compile(rf"(log:)?({_NUMBER}):({_NUMBER})(?::({_NUMBER}))?")
_OWN = ("model_name_or_path", "max_length")  # of a run's options, what may differ between trials
# What a trial must share with every other: its budget, and where it is written.
_SHARED = ("max_steps", "num_train_epochs", "seed", "data_seed", "do_train", "do_eval", "do_predict")
_AXES = {f"{axis}_kwargs": axis for axis in ("objective", "update_mask", "augmentation", "averaging")}
_PAIR = ("update_mask_kwargs.upper.first", "update_mask_kwargs.upper.second")


@dataclass(frozen=True)
class Dimension:
    """The values of one option: some choices, or a range from ``low`` to ``high``.

    Attributes:
        log: whether equal factors are equally likely, not equal differences.
        step: between the values of a range; None: every number.
    """

    choices: tuple[Any, ...] = ()
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    step: float | None = None

    @property
    def whole(self) -> bool:
        """Whether a range holds whole numbers alone."""
        return not self.choices and all(isinstance(end, int) for end in (self.low, self.high, self.step or 1))

    def values(self) -> list[Any] | None:
        """All of them in order; None where they are without number."""
        if self.choices:
            return list(self.choices)
        step = self.step or (1 if self.whole and not self.log else None)
        if step is None:
            return None
        return [rounded(self.low + i * step) for i in range(round((self.high - self.low) / step) + 1)]

    def ends(self) -> list[Any]:
        """Every choice, or the ends of the range."""
        return list(self.choices) or [self.low, self.high]


def rounded(value: Any) -> Any:
    """0.1 + 2 * 0.1 as 0.3."""
    return float(f"{value:.12g}") if isinstance(value, float) else value


def read_space(words: Iterable[str]) -> dict[str, Dimension]:
    """A space from the words of ``--space``; the later of them wins.

    A word is a name of :data:`NAMED_SPACES`, a YAML file that maps options to what follows the ``=``, or one of

        NAME=A:B         every number from A to B, whole ones where A and B are
        NAME=A:B:STEP    from A to B in steps
        NAME=log:A:B     every number from A to B, equal factors equally likely
        NAME=X,Y,Z       these values (in YAML a list too)

    Raises:
        RunError: a word is none of these.
    """
    space: dict[str, Dimension] = {}
    for word in words:
        name, equals, values = word.partition("=")
        if equals:
            given: Mapping[str, Any] = {name: values}
        elif word in NAMED_SPACES:
            given = NAMED_SPACES[word]
        elif word.endswith((".yaml", ".yml")) or Path(word).is_file():
            given = read_yaml(word)
        else:
            near = get_close_matches(word, NAMED_SPACES, n=1)
            guess = (
                f"did you mean {near[0]}?" if near else f"give {', '.join(NAMED_SPACES)}, a YAML file or NAME=VALUES"
            )
            raise RunError(f"--space {word!r} is no space: {guess}")
        for option, spelled in given.items():
            space[option.removeprefix("--").strip()] = _dimension(option, spelled)
    if not space:
        raise RunError("--space is missing: give paper, a YAML file or options such as learning_rate=log:1e-5:1e-4")
    return space


def _dimension(name: str, given: Any) -> Dimension:
    if isinstance(given, list | tuple):
        return _choices(name, given)
    match = _RANGE.fullmatch(str(given).replace(" ", ""))
    if match is None:
        return _choices(name, [_scalar(part) for part in str(given).split(",") if part.strip()])
    low, high, step = _scalar(match[2]), _scalar(match[3]), None if match[4] is None else _scalar(match[4])
    if not low < high:
        raise RunError(f"--space {name}={given}: the range ends before it begins, at {high}")
    if match[1] and (low <= 0 or step is not None):
        raise RunError(f"--space {name}={given}: a log range begins above 0 and has no step")
    if step is not None:
        steps = (high - low) / step if step > 0 else 0.5
        if not abs(steps - round(steps)) < 1e-6:
            raise RunError(f"--space {name}={given}: steps of {step} do not lead from {low} to {high}")
    return Dimension((), low, high, bool(match[1]), step)


def _choices(name: str, values: Sequence[Any]) -> Dimension:
    if len(values) < 2 or len({repr(value) for value in values}) < len(values):
        raise RunError(f"--space {name} needs at least two different values, not {list(values)}")
    if not all(value is None or isinstance(value, str | int | float) for value in values):
        raise RunError(f"--space {name} takes plain values, not {list(values)}")
    return Dimension(tuple(values))


def _scalar(text: str) -> Any:
    text = text.strip()
    for make in (int, float):
        try:
            return make(text)
        except ValueError:
            pass
    return {"true": True, "false": False, "null": None, "none": None}.get(text.lower(), text)


def is_shared(name: str) -> bool:
    """Whether an option must be the same in all trials: it decides their rows, their budget or their place."""
    return name in _SHARED or (name in RUN_OPTIONS and name not in _OWN)


def check_names(space: Iterable[str], config: RunConfig) -> None:
    """Whether each is an option that may differ between trials.

    Raises:
        RunError: it is unknown (with the nearest name), or must be the same for all.
    """
    for name in space:
        head, dot, option = name.partition(".")
        if is_shared(name):
            raise RunError(f"--space {name}: every trial has the same {name}; give --{name} itself")
        if dot and head in _AXES:
            _check_method_option(name, head, option, config)
        elif not (dot and head in ("model_kwargs", "lr_scheduler_kwargs")) and name not in (
            *_OWN,
            *trainer_defaults(),
        ):
            raise RunError(f"--space {name}: there is no such option{_guess(name, config)}")


def _check_method_option(name: str, head: str, option: str, config: RunConfig) -> None:
    axis = _AXES[head]
    known = _method_options(axis, config)
    if not known:
        raise RunError(f"--space {name}: there is no {axis.replace('_', ' ')} here; name one with --{axis}")
    if name in _PAIR and "upper" in known and _method(axis, config) == "rose":
        return
    if option not in known:
        raise RunError(f"--space {name}: {_method(axis, config)} has no option {option}{_guess(name, config)}")


def _method(axis: str, config: RunConfig) -> str | None:
    return config.training.get(axis, "cross_entropy" if axis == "objective" else None)


def _method_options(axis: str, config: RunConfig) -> tuple[str, ...]:
    import inspect

    from rosetune.augmentation import AUGMENTATIONS
    from rosetune.averaging import AVERAGINGS
    from rosetune.methods import OBJECTIVES, UPDATE_MASKS

    tables = {"objective": OBJECTIVES, "update_mask": UPDATE_MASKS}
    tables |= {"augmentation": AUGMENTATIONS, "averaging": AVERAGINGS}
    method = tables[axis].get(_method(axis, config) or "")
    return () if method is None else tuple(inspect.signature(method).parameters)


def _guess(name: str, config: RunConfig) -> str:
    known = [f"{head}.{option}" for head, axis in _AXES.items() for option in _method_options(axis, config)]
    same_end = [full for full in known if full.endswith(f".{name.rpartition('.')[2]}")]
    near = same_end or get_close_matches(name, [*known, *trainer_defaults(), *_OWN], n=1)
    return f": did you mean {near[0]}?" if near else ""


def with_options(config: RunConfig, options: Mapping[str, Any]) -> RunConfig:
    """A run's configuration with other options, named as in a space."""
    training: dict[str, Any] = dict(config.training)
    own: dict[str, Any] = {}
    for name, value in options.items():
        head, dot, option = name.partition(".")
        if name in _PAIR:
            kwargs = dict(training.get(head) or {})
            upper = kwargs.get("upper", 0.6)
            pair = list(upper) if isinstance(upper, list | tuple) else [upper, upper]
            pair[_PAIR.index(name)] = value
            training[head] = {**kwargs, "upper": pair}
        elif head == "model_kwargs":
            own[head] = {**(own.get(head, config.model_kwargs) or {}), option: value}
        elif dot:
            training[head] = {**(training.get(head) or {}), option: value}
        elif name in _OWN:
            own[name] = value
        else:
            training[name] = value
    return dataclasses.replace(config, **own, training=training)


def grid_points(space: Mapping[str, Dimension]) -> list[dict[str, Any]]:
    """Every combination of the values.

    Raises:
        RunError: a range without a step.
    """
    columns = {name: dimension.values() for name, dimension in space.items()}
    for name, values in columns.items():
        if values is None:
            raise RunError(f"--sampler grid needs a step for {name}: give A:B:STEP or values X,Y,Z")
    return [
        dict(zip(columns, point, strict=True))
        for point in itertools.product(*(values or [] for values in columns.values()))
    ]
