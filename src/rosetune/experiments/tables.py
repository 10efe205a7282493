"""What a person reads on the terminal."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text
from tqdm import tqdm

from rosetune.robustness.rows import compare_rows


class Difference(Protocol):
    """Of two models, with its interval."""

    @property
    def value(self) -> float: ...
    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...
    @property
    def verdict(self) -> int: ...


Rows = Mapping[str, Sequence[Mapping[str, Any]]]

_SET_TITLES = {
    "clean": "clean",
    "clean_mismatched": "clean, mismatched",
    "typos_1": "typing errors 1",
    "typos_2": "typing errors 2",
    "advglue": "AdvGLUE",
    "advglue_mismatched": "AdvGLUE, mismatched",
    "advglue_originals": "AdvGLUE's originals",
    "advglue_originals_mismatched": "its originals, mism.",
}


def set_title(name: str) -> str:
    """An evaluation set as a person calls it."""
    return _SET_TITLES.get(name, name.replace("_", " "))


def console() -> Console:
    """Standard output, as wide as it is."""
    return Console(highlight=False)


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on standard error where that is a terminal; what it yields takes the rows done and the number of rows."""
    with tqdm(desc=what, leave=False, disable=None) as bar:

        def update(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield update


def make_table(title: str, columns: Sequence[str], **options: Any) -> Table:
    """A table whose first column holds names and all others hold numbers."""
    table = Table(
        title=Text(title), title_justify="left", caption_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, **options
    )
    for i, column in enumerate(columns):
        table.add_column(column, justify="right" if i else "left", no_wrap=True)
    return table


def percent(value: float | None) -> str:
    """A share in percent; a dash where there is none."""
    return "-" if value is None else f"{100 * value:.1f}"


def interval_cell(value: float | None, low: float | None, high: float | None, gap: str = " ", sign: str = "") -> str:
    """A share in percent with its interval."""
    if value is None or low is None or high is None:
        return "-"
    return f"{100 * value:{sign}.1f}{gap}[dim]\\[{100 * low:{sign}.1f},{100 * high:{sign}.1f}][/dim]"


def accuracy_cell(metrics: Mapping[str, Any], gap: str = " ") -> str:
    """Accuracy in percent with its 95% interval, and between them a space or a line break."""
    return interval_cell(metrics["accuracy"], metrics["low"], metrics["high"], gap)


def difference_cell(d: Difference, gap: str = " ") -> str:
    """Paired difference b - a in points with its 95% interval; dim where neither is shown to be better."""
    text = f"{100 * d.value:+.1f}{gap}\\[{100 * d.low:+.1f},{100 * d.high:+.1f}]"
    return f"[dim]{text}[/dim]" if not d.verdict else f"[bold]{text}[/bold]"


def p_text(p: float) -> str:
    """A p value with three decimals, never rounded to zero."""
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"


def print_metrics(out: Console, title: str, metrics: Mapping[str, Any]) -> None:
    """One run: its evaluation sets, their calibration, the noise curve, and AdvGLUE by attack."""
    if _plain_sets(metrics):
        out.print(metrics_table(title, metrics))
        out.print(_calibration_table(metrics))
    else:
        out.print(Text(f"{title}\n"))
    curve = {name: m for name, m in metrics["sets"].items() if "@" in name}
    if curve:
        out.print(_curve_table(curve, metrics["sets"].get("clean")))
    for name, report in metrics.get("advglue", {}).get("sets", {}).items():
        out.print(_advglue_table(set_title(name), report))
    if "advglue" in metrics:
        out.print(_advglue_summary(metrics["advglue"]) + "\n")


def metrics_table(title: str, metrics: Mapping[str, Any]) -> Table:
    """One run: a line per evaluation set but those of the noise curve."""
    table = make_table(title, ("set", "n", "accuracy % \\[95%]", "constant %", "F1 %", "MCC"))
    for name, m in _plain_sets(metrics):
        cells = (percent(m["constant"]["accuracy"]), percent(m["f1"]), f"{m['mcc']:.3f}")
        table.add_row(set_title(name), str(m["n"]), accuracy_cell(m), *cells)
    return table


def _calibration_table(metrics: Mapping[str, Any]) -> Table:
    columns = ("set", "ECE %", "Brier", "mean confidence %\nif right", "\nif wrong")
    table = make_table("Calibration", columns)
    for name, m in _plain_sets(metrics):
        c = m["calibration"]
        cells = (
            percent(c["ece"]),
            f"{c['brier']:.3f}",
            percent(c["confidence_right"]),
            percent(c["confidence_wrong"]),
        )
        table.add_row(set_title(name), *cells)
    return table


def _plain_sets(metrics: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    return [(name, m) for name, m in metrics["sets"].items() if "@" not in name]


def _curve_table(curve: Mapping[str, Any], clean: Mapping[str, Any] | None) -> Table:
    strengths = sorted({float(name.split("@")[1]) for name in curve})
    titles = ["share of words touched", *(["0"] if clean else []), *(f"{strength:g}" for strength in strengths)]
    table = make_table("Noise curve: accuracy in %", titles)
    for noise in dict.fromkeys(name.split("@")[0] for name in curve):
        cells = [percent(clean["accuracy"])] if clean else []
        table.add_row(
            set_title(noise), *cells, *(percent(curve[f"{noise}@{strength:g}"]["accuracy"]) for strength in strengths)
        )
    return table


def _advglue_table(title: str, report: Mapping[str, Any]) -> Table:
    columns = ("attack", "n (of)", "accuracy % \\[95%]", "before %", "broken", "mended", "success")
    table = make_table(f"{title} by kind and attack", columns, collapse_padding=True)

    def add(name: str, part: Mapping[str, Any]) -> None:
        original, change = part["original"], part["change"]
        flips = ("-", "-") if change is None else (str(change["only_a"]), str(change["only_b"]))
        before = percent(original and original["accuracy"])
        cells = (before, *flips, percent(part["success_rate"]))
        own = part["adversarial"]
        table.add_row(name, f"{own['n']} ({own['originals']})", accuracy_cell(part["adversarial"]), *cells)

    add("all", report["total"])
    table.add_section()
    for kind, part in report["by_kind"].items():
        add(kind, part)
        for method, inner in report["by_method"].items():
            if method.split("/", 1)[0] == kind:
                add(f"  {method.split('/', 1)[1]}", inner)
    return table


def _advglue_summary(advglue: Mapping[str, Any]) -> str:
    parts = []
    if advglue["official_score"] is not None:
        parts.append(f"AdvGLUE's official score {percent(advglue['official_score'])}")
    if advglue["drop"] is not None:
        parts.append(f"drop from clean accuracy {100 * advglue['drop']:+.1f} points (other sentences)")
    text = "; ".join(parts)
    return (
        f"{text[:1].upper() + text[1:]}. The n items stem from so many originals, on which the accuracy is the one "
        "before. Broken: right before, wrong now; mended: the other way round; success: broken, of those right "
        "before, in %. Intervals resample originals."
    )


def verdicts(baseline: Rows, other: Rows, name: str) -> list[str]:
    """One line per evaluation set on whether the paired difference is more than noise.

    Args:
        name: what the other side is called.
    """
    lines = []
    width = max(len(set_title(key)) for key in other)
    for key in other:
        d = compare_rows(baseline[key], other[key])
        said = f"{name} is {'better' if d.verdict > 0 else 'worse'}" if d.verdict else "within the noise"
        p = "-" if d.p is None else p_text(d.p)
        points = f"{100 * d.value:+.1f} points [{100 * d.low:+.1f}, {100 * d.high:+.1f}], p {p}"
        lines.append(f"{set_title(key):{width}}  {points}: {said}")
    return lines
