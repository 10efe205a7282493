"""What to look at, and how closely."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from rosetune.runs.values import RunError, about

__all__ = ["ANALYSES", "AnalysisOptions"]

ANALYSES = ("landscape", "interpolation", "hessian", "disagreement", "masks", "drift")


@dataclass(frozen=True)
class AnalysisOptions:
    """Options of all analyses; each takes those that it knows. Each field says in ``metadata`` what it is.

    Raises:
        RunError: a value out of range.
    """

    examples: int = field(
        default=256, metadata=about("rows drawn at random, the same for every run (default: 256)", "N")
    )
    split: Literal["clean", "train"] = field(
        default="clean", metadata=about("clean, the rows that are reported, or train (default: clean)", "NAME")
    )
    seed: int = field(default=0, metadata=about("of rows, directions, signs and dropout (default: 0)", "N"))
    direction_seed: int | None = field(
        default=None, metadata=about("of the directions alone, while the rows stay (default: --seed)", "N")
    )
    batch_size: int | None = field(
        default=None, metadata=about("rows at a time (default: 8 on the CPU, 128 elsewhere)", "N")
    )
    points: int = field(default=51, metadata=about("points along an axis (default: 51)", "N"))
    span: float = field(default=0.25, metadata=about("the grid goes from -X to X (default: 0.25)", "X"))
    normalise: Literal["filter", "tensor"] = field(
        default="filter",
        metadata=about("directions: filter leaves biases and gains alone; tensor as the paper has it", "NAME"),
    )
    level: float | None = field(
        default=None, metadata=about("loss below which grids are counted (default: the median of all together)", "X")
    )
    equal_accuracy: bool = field(
        default=False,
        metadata=about("also the first run's checkpoints with the clean accuracy of the other runs"),
    )
    samples: int = field(default=20, metadata=about("random vectors for the trace (default: 20)", "N"))
    tolerance: float = field(default=1e-3, metadata=about("relative, of the eigenvalue (default: 0.001)", "X"))
    pairs: int = field(default=1, metadata=about("pairs of dropout passes (default: 1)", "N"))
    steps: tuple[int, ...] = field(
        default=(),
        metadata=about("steps of checkpoints, as far as a run has as many (default: all that are kept)", "A,B"),
    )

    def __post_init__(self) -> None:
        least = {"examples": 1, "points": 3, "samples": 2, "pairs": 1, "batch_size": 1, "seed": 0, "direction_seed": 0}
        for name, low in least.items():
            value = getattr(self, name)
            if value is not None and value < low:
                raise RunError(f"--{name} must be at least {low}, not {value}")
        for name in ("span", "tolerance"):
            if not 0 < getattr(self, name) < float("inf"):
                raise RunError(f"--{name} must be above 0, not {getattr(self, name)}")
        one_of("split", self.split, ("clean", "train"))
        one_of("normalise", self.normalise, ("filter", "tensor"))

    def check_for(self, what: str) -> None:
        """Whether one kind of analysis can be done with these options.

        Raises:
            RunError: a landscape of an even number of points, among which the model is not.
        """
        if what == "landscape" and self.points % 2 == 0:
            raise RunError(
                f"--points of a landscape must be odd, so that the model itself is on the grid: give "
                f"{self.points + 1}, not {self.points}"
            )


def one_of(option: str, value: str, allowed: Iterable[str]) -> None:
    """Check a choice."""
    if value not in allowed:
        raise RunError(f"--{option} must be one of {', '.join(allowed)}, not {value!r}")
