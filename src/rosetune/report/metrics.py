"""One run's metrics on the terminal: its sets, their calibration, the noise curve, and AdvGLUE by attack."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.text import Text

from rosetune._numbers import fixed, in_percent
from rosetune.report.console import Grid, accuracy_cell, percent, print_grid, set_title
from rosetune.report.measures import further_grids
from rosetune.runs.notes import shared_notes
from rosetune.runs.sets import SetName

__all__ = ["metrics_grid", "print_metrics"]


def print_metrics(out: Console, title: str, metrics: Mapping[str, Any]) -> None:
    """All that ``metrics.json`` holds."""
    plain = _plain_sets(metrics)
    if plain:
        print_grid(out, metrics_grid(title, metrics))
        for note in shared_notes(plain):
            out.print(Text(note + "\n"))
        if any("calibration" in m for m in plain.values()):
            print_grid(out, _calibration_grid(plain))
        for further in further_grids(metrics["sets"]):
            print_grid(out, further)
    else:
        out.print(Text(f"{title}\n"), soft_wrap=True)
    curve = {name: m for name, m in metrics["sets"].items() if SetName.parse(name).on_curve}
    if curve:
        print_grid(out, _curve_grid(curve, metrics["sets"].get("clean")))
    for name, report in metrics.get("advglue", {}).get("sets", {}).items():
        print_grid(out, _advglue_grid(set_title(name), report))
    if "advglue" in metrics:
        out.print(Text(_advglue_summary(metrics["advglue"]) + "\n"))


def metrics_grid(title: str, metrics: Mapping[str, Any]) -> Grid:
    """A line per evaluation set but those of the noise curve."""
    plain = _plain_sets(metrics)
    if any("mse" in m for m in plain.values()):
        grid = Grid(title, ("set", "n", "mean squared error [95%]", "constant", "Pearson", "Spearman"))
        for name, m in plain.items():
            cells = (fixed(m["constant"]["mse"]), *(_correlation(m[key]) for key in ("pearson", "spearman")))
            grid.rows.append((escape(set_title(name)), str(m["n"]), accuracy_cell(m), *cells))
        return grid
    grid = Grid(title, ("set", "n", "accuracy % [95%]", "constant %", "F1 %", "MCC"))
    for name, m in plain.items():
        cells = (percent(m["constant"]["accuracy"]), percent(m["f1"]), fixed(m["mcc"]))
        grid.rows.append((escape(set_title(name)), str(m["n"]), accuracy_cell(m), *cells))
    return grid


def _correlation(value: float | None) -> str:
    return "-" if value is None else fixed(value)


def _calibration_grid(plain: Mapping[str, Mapping[str, Any]]) -> Grid:
    grid = Grid("Calibration", ("set", "ECE %", "Brier", "mean confidence %\nif right", "\nif wrong"))
    for name, m in plain.items():
        c = m["calibration"]
        confidence = percent(c["confidence_right"]), percent(c["confidence_wrong"])
        grid.rows.append((escape(set_title(name)), percent(c["ece"]), fixed(c["brier"]), *confidence))
    return grid


def _plain_sets(metrics: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {name: m for name, m in metrics["sets"].items() if not SetName.parse(name).on_curve}


def _curve_grid(curve: Mapping[str, Any], clean: Mapping[str, Any] | None) -> Grid:
    cells = {(SetName.parse(name).noise, SetName.parse(name).strength): m for name, m in curve.items()}
    strengths = sorted({strength for _, strength in cells if strength is not None})
    heads = ("share of words touched", *(["0"] if clean else []), *(f"{strength:g}" for strength in strengths))
    regression = any("mse" in m for m in curve.values())
    grid = Grid(f"Noise curve: {'mean squared error' if regression else 'accuracy in %'} [95%]", heads)
    for noise in dict.fromkeys(noise for noise, _ in cells):
        here = (cells.get((noise, strength)) for strength in strengths)
        row = [accuracy_cell(m) if m else "-" for m in ([clean] if clean else []) + [*here]]
        grid.rows.append((str(noise).replace("_", " "), *row))
    return grid


def _advglue_grid(title: str, report: Mapping[str, Any]) -> Grid:
    columns = ("attack", "n (of)", "accuracy % [95%]", "before %", "broken", "mended", "success")
    grid = Grid(f"{title} by kind and attack", columns)

    def add(name: str, part: Mapping[str, Any]) -> None:
        original, change = part["original"], part["change"]
        flips = ("-", "-") if change is None else (str(change["only_a"]), str(change["only_b"]))
        before = percent(original and original["accuracy"])
        own, cells = part["adversarial"], (before, *flips, percent(part["success_rate"]))
        grid.rows.append((escape(name), _counted(own), accuracy_cell(own), *cells))

    add("all", report["total"])
    grid.rows.append(None)
    for kind, part in report["by_kind"].items():
        add(kind, part)
        for method, inner in report["by_method"].items():
            if method.split("/", 1)[0] == kind:
                add(f"  {method.split('/', 1)[1]}", inner)
    return grid


def _counted(share: Mapping[str, Any]) -> str:
    """How many items, and how many originals they stem from."""
    of = [str(share["originals"])] if share["originals"] else []
    of += [f"{share['by_hand']} by hand"] if share.get("by_hand") else []
    of += [f"{share['unknown']} ?"] if share.get("unknown") else []
    return f"{share['n']} ({', '.join(of)})"


def _advglue_summary(advglue: Mapping[str, Any]) -> str:
    parts = []
    if advglue["official_score"] is not None:
        parts.append(f"AdvGLUE's official score {percent(advglue['official_score'])}")
    if advglue["drop"] is not None:
        parts.append(f"drop from clean accuracy {in_percent(advglue['drop'], '+')} points (other sentences)")
    text = "; ".join(parts)
    text = f"{text[:1].upper()}{text[1:]}. " if parts else ""
    left_out = "".join(
        f"{n} items of {set_title(name)} are left out, since their texts are in the training data: there is no "
        "official score on the rest. "
        for name, n in advglue.get("left_out", {}).items()
        if n is not None
    )
    if None in advglue.get("left_out", {}).values():
        left_out += (
            "Whether items were left out is not known, since an earlier version evaluated on them, so that there is "
            "no official score: remove predictions/advglue.json and evaluate on advglue again, which predicts nothing "
            "anew. "
        )
    totals = [report["total"]["adversarial"] for report in advglue["sets"].values()]
    unknown = sum(total.get("unknown", 0) for total in totals)
    narrow = (
        f"Of {unknown} items (?) the original is not known, as in the plain edition: they count as independent, which "
        "makes the interval too narrow. "
        if unknown
        else ""
    )
    return (
        f"{left_out}{text}n (of): the items stem from so many originals, or were written by "
        f"hand. {narrow}Before: accuracy on the originals. Broken: right before, wrong now; mended: the other way "
        "round; success: broken, of those right before, in %. Intervals resample originals."
    )
