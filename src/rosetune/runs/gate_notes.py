"""What a gate says beside its checks: how a threshold was chosen, and what does not count."""

from collections.abc import Mapping, Sequence

from rosetune.runs.attacked import vain_rows
from rosetune.runs.gate_measures import ON_CLEAN, WITHOUT, Measured, groups_on
from rosetune.runs.run import Run
from rosetune.runs.sets import SetName
from rosetune.runs.threshold import threshold_note, ties_note
from rosetune.runs.titles import titles_of

__all__ = ["left_out", "of_small_groups", "of_the_threshold", "of_vain_rows"]

_AT_THRESHOLD = ("min_recall", "max_false_positive_rate")


def of_the_threshold(run: Run, looked_at: Mapping[str, Sequence[str]]) -> list[str]:
    """How the threshold was chosen that recall and false positives are read at, and what that does not say.

    Args:
        looked_at: by limit the sets that it was judged on.
    """
    limits = [limit for limit in _AT_THRESHOLD if looked_at.get(limit)]
    if not limits:
        return []
    names = dict.fromkeys(name for limit in limits for name in looked_at[limit])
    detections = {name: run.metrics["sets"][name]["detection"] for name in names}
    first = next(iter(detections.values()))
    told = threshold_note(first) + ties_note(detections)
    notes = [f"{' and '.join(limits)}, of {first['positive_label']}: {told}"]
    if first["threshold"]["chosen_on"] == ON_CLEAN:
        notes.insert(
            0,
            f"NOT SURE: {' and '.join(limits)}, whose threshold fits the very texts that are judged. New texts may "
            "do worse: train with --validation_file and --test_file, or --validation_from_train.",
        )
    if limits == ["min_recall"]:
        notes.append(
            "min_recall alone passes a model that calls every text positive: give max_false_positive_rate beside it."
        )
    return notes


def of_vain_rows(run: Run, titles: Mapping[str, str]) -> list[str]:
    """Rows that withstood an attack for want of words or queries."""
    attacks = {name: title for name, title in titles.items() if SetName.parse(name).attack is not None}
    return [
        f"{title}: {said}, which says nothing of the model."
        for name, title in attacks.items()
        if (said := vain_rows(run, name))
    ]


def of_small_groups(limit: str, found: Mapping[str, Measured | None], least: int) -> list[str]:
    """The groups that do not count as the worst, with the sets that they are groups of."""
    by_groups: dict[tuple[str, ...], list[str]] = {}
    for name, value in found.items():
        if value is not None and value.too_small:
            by_groups.setdefault(value.too_small, []).append(SetName.parse(name).title)
    start = f"{limit}: groups of fewer than {least} labelled rows do not count"
    return [f"{start}: {_first(groups)}, on {' and '.join(titles)}." for groups, titles in by_groups.items()]


def left_out(run: Run, limit: str, found: Mapping[str, Measured | None], least: int) -> list[str]:
    """The sets on which a limit finds nothing to measure, those of one reason together, with the reason.

    Args:
        found: what was measured, by set.
        least: number of labelled rows of a group that counts.
    """
    without = [name for name, value in found.items() if value is None]
    if limit != "min_group_accuracy":
        reasons = {WITHOUT[limit]: without}
    else:
        small = [name for name in without if groups_on(run, name)]
        reasons = {_too_small(run, small, least): small} if small else {}
        reasons["where no groups are measured"] = [name for name in without if name not in small]
    on = {name: _on(name, title) for name, title in titles_of([run], without).items()}
    return [f"not {' and '.join(on[n] for n in names)}, {reason}" for reason, names in reasons.items() if names]


def _too_small(run: Run, names: Sequence[str], least: int) -> str:
    """That no group of some sets is large enough, how large the largest is, and what to do."""
    largest = max((part for name in names for part in groups_on(run, name)), key=lambda part: part["n"])
    held = f"(the largest, {largest['group']}, has {largest['n']})"
    return f"where no group has {least} labelled rows {held}: lower --group_rows"


def _first(groups: Sequence[str], shown: int = 20) -> str:
    more = f" and {len(groups) - shown} more" if len(groups) > shown else ""
    return ", ".join(groups[:shown]) + more


def _on(name: str, title: str) -> str:
    """A set with its preposition, which the title of an attack brings along."""
    return title if SetName.parse(name).kind == "attack" else f"on {title}"
