"""What is measured beside accuracy, on the terminal: one class told from the rest, results by length and by group."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.markup import escape

from rosetune.report.console import Grid, accuracy_cell, interval_cell, percent, set_title, share_cell
from rosetune.runs.sets import SetName
from rosetune.runs.threshold import threshold_note, ties_note

__all__ = ["FEW", "further_grids"]

FEW = 100  # examples, below which a difference of several points is within the noise

Sets = Mapping[str, Mapping[str, Any]]


def further_grids(sets: Sets) -> Iterator[Grid]:
    """The tables for which some metrics of a run have what it takes.

    Args:
        sets: metrics by set.
    """
    shown = {name: m for name, m in sets.items() if not SetName.parse(name).is_original}
    if any("detection" in m for m in shown.values()):
        yield _detection_grid({name: m["detection"] for name, m in shown.items() if "detection" in m})
    for key, kind in (("lengths", "band"), ("groups", "group")):
        parts = {name: m[key] for name, m in shown.items() if key in m}
        if parts:
            yield _parts_grid(kind, parts)


def _detection_grid(detections: Mapping[str, Mapping[str, Any]]) -> Grid:
    first = next(iter(detections.values()))
    columns = ("set", "with it", "without", "ROC AUC [95%]", "recall % [95%]", "false positives % [95%]")
    note = f"{threshold_note(first, detections)}{ties_note(detections)}"
    grid = Grid(f"Telling {first['positive_label']} from the rest", columns, caption=note)
    for name, d in detections.items():
        auc = d["auc"]
        area = "-" if auc is None else interval_cell(auc["value"], auc["low"], auc["high"], regression=True)
        cells = (area, share_cell(d["recall"]), share_cell(d["false_positive_rate"]))
        grid.rows.append((escape(set_title(name)), str(d["positives"]), str(d["negatives"]), *cells))
    return grid


def _parts_grid(kind: str, parts: Mapping[str, Any]) -> Grid:
    """A line for each band or group, and a column for each set: accuracy, of how many rows, and recall."""
    listed: dict[str, Sequence[Mapping[str, Any]]] = {
        name: part if kind == "band" else part["groups"] for name, part in parts.items()
    }
    head = "words" if kind == "band" else next(iter(parts.values()))["column"]
    figures = {name: {part[kind]: part for part in of_set} for name, of_set in listed.items()}
    order = dict.fromkeys(part for of_set in figures.values() for part in of_set)
    example = next(part for of_set in listed.values() for part in of_set)
    found = any(part.get("recall") for of_set in listed.values() for part in of_set)
    measure = "Accuracy %" if "accuracy" in example else "Mean squared error"
    title = f"{measure} [95%] (n{'; recall %' if found else ''}) by {'length' if kind == 'band' else head}"
    note = "Accuracy goes by the likelier label, recall by the threshold above." if found else ""
    grid = Grid(title, (escape(head), *(escape(set_title(name)) for name in figures)), caption=note)
    for part in _ordered(order, kind):
        grid.rows.append((escape(part), *(_part_cell(of_set.get(part), found) for of_set in figures.values())))
    return grid


def _ordered(names: Mapping[str, Any], kind: str) -> list[str]:
    """Bands by their length, which a set without short texts would otherwise put last; groups as they come."""
    if kind == "group":
        return [*names]
    return sorted(names, key=lambda name: (name.startswith("over"), int(name.split()[-1])))


def _part_cell(part: Mapping[str, Any] | None, with_recall: bool) -> str:
    if part is None:
        return "-"
    recall = part.get("recall")
    more = f"; {percent(recall and recall['value'])}" if with_recall else ""
    return f"{accuracy_cell(part)} ({part['n']}{more})"
