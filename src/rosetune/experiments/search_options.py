"""How options are searched for: budget, sampler, and what a trial is judged by."""

import math
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

from rosetune.runs.sets import KINDS
from rosetune.runs.values import RunError, about, flag

__all__ = ["HALVING", "SAMPLERS", "SearchOptions", "require_optuna"]

SAMPLERS = ("tpe", "grid", "random")
HALVING = 3  # of the trials that came to a rung, one in so many goes on
_JUDGED_ON = tuple(kind for kind in KINDS if kind != "advglue")


@dataclass(frozen=True)
class SearchOptions:
    """How options are searched for. Each field says in ``metadata`` what it is.

    Raises:
        RunError: a value of the wrong type or out of its range; a set that is reported in the mix.
    """

    trials: int | None = field(
        default=None,
        metadata=about("of all calls together; the same command goes on (default: 20, or the whole grid)", "N"),
    )
    sampler: str = field(default="tpe", metadata=about("tpe, grid or random (default: tpe)", "NAME"))
    objective_mix: Mapping[str, float] | str = field(
        default="clean=0.5,noise=0.5",
        metadata=about(
            "weights of accuracy on clean, noise and noise_curve of the held-out rows (default: clean=0.5,noise=0.5)",
            "A=W,B=W",
        ),
    )
    rungs: int = field(
        default=1,
        metadata=about(
            f"successive halving: so many lengths up to --max_steps, each {HALVING} times the one before; the best "
            f"{'third' if HALVING == 3 else HALVING} goes on (default: 1, every trial at full length)",
            "N",
        ),
    )
    search_seed: int = field(default=0, metadata=about("of the sampler (default: 0)", "N"))
    storage: str | None = field(
        default=None,
        metadata=about("Optuna's: a journal file or a database's URL (default: journal.log in --output_dir)", "URL"),
    )
    worker: str = field(
        default_factory=socket.gethostname,
        metadata=about("name of this process among several on one --storage (default: the machine's)", "NAME"),
    )
    keep_models: bool = field(default=False, metadata=about("keep the weights of every trial, not its scores alone"))

    def __post_init__(self) -> None:
        if self.sampler not in SAMPLERS:
            raise RunError(f"--sampler must be one of {', '.join(SAMPLERS)}, not {self.sampler!r}")
        for name, least in (("trials", 1), ("rungs", 1), ("search_seed", 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise RunError(f"--{name} must be at least {least}, not {value}")
        if not self.worker or "/" in self.worker:
            raise RunError(f"--worker must be a name without a slash, not {self.worker!r}")
        object.__setattr__(self, "keep_models", flag("keep_models", self.keep_models))
        object.__setattr__(self, "objective_mix", _mix(self.objective_mix))


def _mix(given: Mapping[str, float] | str) -> dict[str, float]:
    pairs: Any = (
        [*given.items()]
        if isinstance(given, Mapping)
        else [(name.strip(), weight) for name, _, weight in (part.partition("=") for part in given.split(","))]
    )
    mix: dict[str, float] = {}
    for name, weight in pairs:
        if name == "advglue":
            raise RunError("advglue is reported, and nothing is chosen on it: leave it out of --objective_mix")
        if name not in _JUDGED_ON or name in mix:
            raise RunError(f"--objective_mix gives each of {', '.join(_JUDGED_ON)} one weight, not {name!r}")
        try:
            mix[name] = float(weight)
        except (TypeError, ValueError):
            mix[name] = math.nan
        if not 0 < mix[name] < math.inf:
            raise RunError(f"--objective_mix must be such as clean=0.5,noise=0.5 with weights above 0, not {given!r}")
    return {name: mix[name] for name in _JUDGED_ON if name in mix}


def require_optuna() -> None:
    """Look for Optuna, which is an extra, without loading it.

    Raises:
        RunError: it is not installed.
    """
    if find_spec("optuna") is None:
        raise RunError("rosetune search needs Optuna: pip install 'rosetune[search]'")
