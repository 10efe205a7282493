"""What the limits of a gate are held against: figures of one run on one set, each with its interval."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rosetune.robustness.rows import clusters_of
from rosetune.robustness.statistics import Estimate, difference, estimate
from rosetune.runs.changed import at_most_words
from rosetune.runs.files import Rows
from rosetune.runs.gate_limits import Limits
from rosetune.runs.gate_sets import absent, of_kind, perturbed, reference
from rosetune.runs.run import Run
from rosetune.runs.sets import SetName

__all__ = ["ON_CLEAN", "WITHOUT", "Measure", "Measured", "groups_on", "measures"]

ON_CLEAN = "clean"  # a threshold was chosen on the clean set itself
_NO_LABEL = "where no row has a label"
# Why a limit finds nothing to measure on a set or on several; of groups see `groups_on`.
WITHOUT = {
    "min_accuracy": _NO_LABEL,
    "min_robust_accuracy": _NO_LABEL,
    "max_drop": "where there are no unperturbed texts with labels",
    "max_flip_rate": "where there are no unperturbed texts",
    "min_recall": "where no row is of the class",
    "max_false_positive_rate": "where no row is of another class, or the threshold was chosen on these very rows",
    "min_accuracy_under_attack": "where no text could be changed, which says nothing of the model",
    "max_success_rate": "where no row was right before, or no text could be changed",
}


@dataclass(frozen=True)
class Measured:
    """A figure on one set.

    Attributes:
        estimate: with its 95% interval and number of rows.
        group: the group of rows that it is of; None: all rows.
        too_small: groups that do not count, since they have too few rows, each with its number of rows.
        false_positive_rate: at the threshold of a recall.
        flattered: whether the threshold was chosen on the clean set itself.
    """

    estimate: Estimate
    group: str | None = None
    false_positive_rate: float | None = None
    flattered: bool = False
    too_small: tuple[str, ...] = ()


Measure = Callable[[str], Measured | None]


def measures(run: Run, names: Sequence[str], limits: Limits) -> dict[str, tuple[list[str], Measure]]:
    """By limit the sets that it looks at, and what measures it on one of them: None where there is nothing to measure.

    Args:
        names: the robust sets and attacks that are looked at.
    """
    clean, robust, attacks = of_kind(run.sets(), "clean"), perturbed(names), of_kind(names, "attack")

    def simple(measure: Callable[..., Estimate | None], *more: Any) -> Measure:
        def measured(name: str) -> Measured | None:
            found = measure(run, name, *more)
            return None if found is None else Measured(found)

        return measured

    return {
        "min_accuracy": (clean, simple(_accuracy)),
        "min_robust_accuracy": (robust, simple(_accuracy)),
        "min_group_accuracy": ([*clean, *robust], lambda name: _worst_group(run, name, limits.group_rows)),
        "min_accuracy_under_attack": (attacks, simple(_under_attack, limits.words)),
        "max_success_rate": (attacks, simple(_success, limits.words)),
        "max_drop": (robust, simple(_drop)),
        "max_flip_rate": (robust, simple(_flips)),
        "min_recall": ([*clean, *robust], lambda name: _recall(run, name)),
        "max_false_positive_rate": ([*clean, *robust], lambda name: _false_positives(run, name)),
    }


def _accuracy(run: Run, name: str) -> Estimate | None:
    rows = [row for row in run.rows(name) if row["gold"] is not None]
    return _share([row["prediction"] == row["gold"] for row in rows], rows)


def _share(values: Sequence[bool], rows: Rows) -> Estimate | None:
    return estimate(values, clusters=clusters_of(rows)) if values else None


def groups_on(run: Run, name: str) -> Sequence[Mapping[str, Any]]:
    """The figures of each group of rows of a set; none where no groups were measured."""
    found: Sequence[Mapping[str, Any]] = run.metrics["sets"].get(name, {}).get("groups", {}).get("groups", ())
    return found


def _worst_group(run: Run, name: str, least: int) -> Measured | None:
    """The group with the lowest accuracy, the first of equals; of those with so many rows."""
    groups = [part for part in groups_on(run, name) if part["n"] >= least]
    if not groups:
        return None
    worst = min(groups, key=lambda part: part["accuracy"])
    found = Estimate(worst["n"], *(worst[figure] for figure in ("accuracy", "low", "high")))
    small = [f"{part['group']} ({part['n']})" for part in groups_on(run, name) if part["n"] < least]
    column = run.metrics["sets"][name]["groups"]["column"]
    return Measured(found, group=f"{column} {worst['group']}", too_small=tuple(small))


def _under_attack(run: Run, name: str, words: str | None) -> Estimate | None:
    rows = at_most_words(run, name, words)
    return None if _tried_nothing(run, name) else _share([row["prediction"] == "robust" for row in rows], rows)


def _success(run: Run, name: str, words: str | None) -> Estimate | None:
    rows = [row for row in at_most_words(run, name, words) if row["prediction"] != "wrong"]
    return None if _tried_nothing(run, name) else _share([row["prediction"] == "broken" for row in rows], rows)


def _tried_nothing(run: Run, name: str) -> bool:
    """Whether an attack asked for no text but those of the rows: none of them had anything that it could change."""
    results = [r for r in run.attacks[SetName.parse(name).attack or ""][1] if r["status"] != "skipped"]
    return bool(results) and all(result["queries"] == 1 for result in results)


def _paired_rows(run: Run, name: str) -> tuple[Rows, Rows] | None:
    """The rows of the unperturbed texts and of the perturbed ones, in one order."""
    other = reference(run, name)
    if other is None:
        return None
    before, after = ({row["id"]: row for row in run.rows(part)} for part in (other, name))
    ids = [row for row in after if row in before]
    return ([before[row] for row in ids], [after[row] for row in ids]) if ids else None


def _drop(run: Run, name: str) -> Estimate | None:
    sides = _paired_rows(run, name)
    if sides is None:
        return None
    pairs = [(b, a) for b, a in zip(*sides, strict=True) if a["gold"] is not None]
    if not pairs:
        return None
    right = ([row["prediction"] == row["gold"] for row in side] for side in zip(*pairs, strict=True))
    d = difference(*right, clusters=clusters_of([row for _, row in pairs]))
    return Estimate(d.n, *(0.0 - 100 * part for part in (d.value, d.high, d.low)))  # no -0.0


def _flips(run: Run, name: str) -> Estimate | None:
    sides = _paired_rows(run, name)
    return sides and _share([b["prediction"] != a["prediction"] for b, a in zip(*sides, strict=True)], sides[1])


def _recall(run: Run, name: str) -> Measured | None:
    found = _detection(run, name, "min_recall")
    hit, false = found["recall"], found["false_positive_rate"]
    if hit is None:
        return None
    return Measured(
        Estimate(found["positives"], hit["value"], hit["low"], hit["high"]),
        false_positive_rate=false and false["value"],
        flattered=found["threshold"]["chosen_on"] == ON_CLEAN,
    )


def _false_positives(run: Run, name: str) -> Measured | None:
    found = _detection(run, name, "max_false_positive_rate")
    false = found["false_positive_rate"]
    if false is None:
        return None
    flattered = found["threshold"]["chosen_on"] == ON_CLEAN
    if flattered and SetName.parse(name).kind == "clean":  # the threshold was chosen so that the limit holds there
        return None
    return Measured(Estimate(found["negatives"], false["value"], false["low"], false["high"]), flattered=flattered)


def _detection(run: Run, name: str, limit: str) -> dict[str, Any]:
    found: dict[str, Any] | None = run.metrics["sets"].get(name, {}).get("detection")
    if found is None or found["threshold"] is None:
        raise absent(run, limit)
    return found
