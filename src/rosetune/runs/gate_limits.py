"""The limits of a gate: what each looks at, and how it is given."""

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from rosetune.runs.values import RunError, about, guess, names, number

__all__ = ["BASELINE", "LIMITS", "Limits"]

BASELINE = "baseline"  # the rule that needs no number: not shown to be worse than the baseline
GROUP_ROWS = 30
_POINTS = ("max_drop", "max_decline")


@dataclass(frozen=True)
class Limits:
    """What a run must keep to. Each field says in ``metadata`` what it is; None is no limit.

    Shares lie between 0 and 1, points between 0 and 100.

    Raises:
        RunError: a value of the wrong type or out of its range.
    """

    min_accuracy: float | None = field(default=None, metadata=about("accuracy on the clean set", "SHARE"))
    min_robust_accuracy: float | None = field(
        default=None, metadata=about("accuracy on each robust set: typing errors, AdvGLUE", "SHARE")
    )
    min_group_accuracy: float | None = field(
        default=None,
        metadata=about("accuracy of the worst group, clean and on robust sets, see --group_rows", "SHARE"),
    )
    min_accuracy_under_attack: float | None = field(
        default=None, metadata=about("accuracy under each attack, see --words", "SHARE")
    )
    min_recall: float | None = field(
        default=None,
        metadata=about("recall of the positive label, clean and on robust sets, at the run's threshold", "SHARE"),
    )
    max_false_positive_rate: float | None = field(
        default=None,
        metadata=about("share of the other labels' rows that are called positive, on the same sets", "SHARE"),
    )
    max_drop: float | None = field(
        default=None, metadata=about("points of accuracy that the perturbation of the same texts takes", "POINTS")
    )
    max_flip_rate: float | None = field(
        default=None, metadata=about("share of texts whose prediction the perturbation changes", "SHARE")
    )
    max_success_rate: float | None = field(
        default=None, metadata=about("share of the right texts that an attack breaks, see --words", "SHARE")
    )
    max_decline: float | None = field(
        default=None,
        metadata=about("points of accuracy below the baseline, on each set, clean, robust or under attack", "POINTS"),
    )
    group_rows: int = field(
        default=GROUP_ROWS,
        metadata=about(f"groups of fewer labelled rows do not count as the worst (default: {GROUP_ROWS})", "N"),
    )
    sets: tuple[str, ...] | None = field(
        default=None,
        metadata=about(
            "robust sets and attacks to look at, by name or kind, such as noise,leetspeak,deepwordbug (default: all "
            "that the run has, but the noise curve and further files)",
            "A,B",
        ),
    )
    words: str | None = field(
        default=None,
        metadata=about(
            "count a text as broken by an attack only where it changed at most so many words: 2, or 10%% of "
            "them (default: any number)",
            "N",
        ),
    )

    def __post_init__(self) -> None:
        for name in LIMITS:
            object.__setattr__(self, name, _number(name, getattr(self, name)))
        rows = int(number("group_rows", self.group_rows, whole=True, least=1))
        object.__setattr__(self, "group_rows", rows)
        object.__setattr__(self, "sets", names("sets", self.sets))
        if self.sets == ():
            raise RunError("sets names no set: name some, such as noise,deepwordbug, or leave it out for all")
        if self.words is not None:
            from rosetune.robustness.attacks.changed_words import within

            object.__setattr__(self, "words", str(self.words))
            try:
                within({"status": "failed"}, str(self.words))
            except ValueError as error:
                raise RunError(f"words: {error}") from error

    @classmethod
    def of(cls, options: dict[str, Any], source: str) -> "Limits":
        """From options by name.

        Args:
            source: where they stand, for messages.

        Raises:
            RunError: an unknown name, or a value that is no limit.
        """
        known = [field.name for field in dataclasses.fields(cls)]
        for name in options:
            if name not in known:
                raise RunError(f"{source}: there is no limit {name!r}: {guess(name, (*known, BASELINE))}")
        return cls(**options)

    def given(self) -> list[str]:
        """The names of the limits that are set."""
        return [name for name in LIMITS if getattr(self, name) is not None]

    def notes(self) -> list[str]:
        """Limits in points that may have been meant as shares."""
        return [
            f"{name}: {value:.10g} is in points of accuracy, of which there are 100; for a share of {value:.10g} give "
            f"{100 * value:.10g}."
            for name in _POINTS
            if (value := getattr(self, name)) is not None and 0 < value < 1
        ]

    def check(self, *, with_baseline: bool) -> None:
        """Refuse a gate that would let everything through, and a limit without its baseline.

        Raises:
            RunError: see there.
        """
        if self.max_decline is not None and not with_baseline:
            raise RunError("max_decline is a limit on what is lost against a baseline: name that run with --baseline")
        if not self.given() and not with_baseline:
            raise RunError(f"a gate without a limit lets everything through: give some of {', '.join(LIMITS)}")


LIMITS = tuple(name for name in Limits.__dataclass_fields__ if name.startswith(("min_", "max_")))


def _number(name: str, value: Any) -> float | None:
    if value is None:
        return None
    try:
        found = float("nan") if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        found = float("nan")
    if name in _POINTS:
        if not 0 <= found <= 100:
            raise RunError(f"{name} must be a number of points from 0 to 100, not {value!r}")
    elif not 0 <= found <= 1:
        raise RunError(f"{name} must be a share from 0 to 1, such as 0.9, not {value!r}")
    return found
