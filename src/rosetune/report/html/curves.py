"""Charts of the sets: robust against clean accuracy, with the baseline over training, and the noise curves."""

import math
from collections.abc import Sequence

from markupsafe import Markup

from rosetune._numbers import fixed
from rosetune.report.console import percent
from rosetune.report.html.equal import Curve
from rosetune.report.html.groups import Group, set_titles
from rosetune.report.html.svg import Axis, Series, chart
from rosetune.robustness.flip_control import flipped_accuracy
from rosetune.robustness.statistics import Estimate
from rosetune.runs.sets import SetName

__all__ = ["noise_charts", "trade_off"]


_NEAR, _NEAR_AT_LEAST = 0.02, 0.001  # of the span of all marks, and of accuracy: so near one mark would hide another
_LARGER = 0.5  # by how much, for each mark upon it


def trade_off(
    task: str, name: str, groups: Sequence[Group], baseline: Group | None, curve: Curve | None
) -> tuple[str, Markup]:
    """Robust against clean accuracy: a point for each group with its intervals, small ones for its seeds.

    Returns:
        The set's title, and the chart.
    """
    title = set_titles(groups)[name]
    clean = SetName.parse(name).clean({n for group in groups for n in group.sets})
    there = [(group, group.estimate(clean), group.estimate(name)) for group in groups]
    both = [(group, x, y) for group, x, y in there if x is not None and y is not None]
    drawn, along = list[Series](), list[tuple[float, float]]()
    if baseline is not None and curve is not None:
        moments = curve.points(name, clean)
        along = [(x, y) for _, x, y in moments]
        tips = [f"{baseline.name} at step {step}: clean {percent(x)}, {title} {percent(y)}" for step, x, y in moments]
        drawn.append(Series(baseline.name, baseline.style, along, line=True, markers=True, small=True, tips=tips))
    drawn += _flips(groups, baseline, clean, name)
    for group, _, _ in both:
        seeds = [*zip(group.values(clean), group.values(name), strict=True)]
        if len(seeds) > 1:
            drawn.append(Series(group.name, group.style, seeds, markers=True, small=True))
    scales = _scales([(x.value, y.value) for _, x, y in both])
    for (group, x, y), scale in zip(both, scales, strict=True):
        tip = f"{group.name}: clean {_told(x)}, {title} {_told(y)}"
        bars = [(*_ends_of(x), *_ends_of(y))]
        at = [(x.value, y.value)]
        drawn.append(Series(group.name, group.style, at, markers=True, bars=bars, tips=[tip], scale=scale))
    held = [[(x.value, y.value), *zip(group.values(clean), group.values(name), strict=True)] for group, x, y in both]
    points_held = [*along, *(point for part in held for point in part)]
    across = _with_intervals([x for x, _ in points_held], [x for _, x, _ in both])
    up = _with_intervals([y for _, y in points_held], [y for _, _, y in both])
    axes = (Axis(f"{SetName.parse(clean).title} accuracy (%)", True, across), Axis("robust accuracy (%)", True, up))
    described = "; ".join(
        f"{group.name}: clean {percent(x.value)}, {title} {percent(y.value)}" for group, x, y in both
    )
    return title, chart(f"{task}: {title} against clean accuracy", described, *axes, drawn)


def _scales(places: Sequence[tuple[float, float]]) -> list[float]:
    """Of each mark: one that others are drawn upon, at nearly the same place, is larger than these."""
    spans = [max(values) - min(values) for values in zip(*places, strict=True)] or [0.0, 0.0]
    reach = [max(_NEAR * span, _NEAR_AT_LEAST) for span in spans]
    return [
        1 + _LARGER * sum(abs(x - a) <= reach[0] and abs(y - b) <= reach[1] for a, b in places[i + 1 :])
        for i, (x, y) in enumerate(places)
    ]


def _with_intervals(values: Sequence[float], estimates: Sequence[Estimate]) -> list[float]:
    """The values, and of the intervals as much as doubles their span: those over two seeds go far beyond."""
    if not estimates:
        return [*values]
    low, high = min(values), max(values)
    reach = max(high - low, 0.02)
    ends = [_ends_of(found) for found in estimates]
    least, most = min(low for low, _ in ends), max(high for _, high in ends)
    return [*values, max(low - reach, min(low, least)), min(high + reach, max(high, most))]


def _flips(groups: Sequence[Group], baseline: Group | None, clean: str, name: str) -> list[Series]:
    """The constant predictor, and the baseline with its labels flipped at random."""
    found, classes = list[Series](), len(groups[0].runs[0].labels)
    constant = next(
        (m.figures[name].get("constant", {}).get("accuracy") for g in groups for m in g.members if name in m.figures),
        None,
    )
    if constant is not None:
        found.append(Series("constant predictor", 1, [(0.0, constant), (1.0, constant)], line=True, muted=True))
    x = None if baseline is None else baseline.estimate(clean)
    y = None if baseline is None else baseline.estimate(name)
    if x is not None and y is not None and x.value * classes > 1 and SetName.parse(name).attack is None:
        end = flipped_accuracy(x.value, 1 / classes, y.value, classes)
        flips = [(x.value, y.value), (1 / classes, end)]
        found.append(Series("labels flipped at random", 0, flips, line=True, muted=True))
    return found


def _told(found: Estimate) -> str:
    interval = "no interval" if math.isnan(found.low) else f"{percent(found.low)}, {percent(found.high)}"
    return f"{percent(found.value)} [{interval}]"


def _ends_of(found: Estimate) -> tuple[float, float]:
    """What a bar spans; of seeds that are all alike, which have no interval, it has no length and is not drawn."""
    return (found.value, found.value) if math.isnan(found.low) else (found.low, found.high)


def noise_charts(task: str, groups: Sequence[Group], names: Sequence[str]) -> list[tuple[str, Markup]]:
    """A chart for each noise, with its name: the mean score of each group over the strength, from the clean set on."""
    cells = [SetName.parse(name) for name in names]
    regression = not groups[0].runs[0].labels
    found: list[tuple[str, Markup]] = []
    for noise in dict.fromkeys(cell.noise for cell in cells):
        sets = [(0.0, "clean"), *sorted((cell.strength or 0.0, cell.name) for cell in cells if cell.noise == noise)]
        title, drawn = str(noise).replace("_", " "), list[Series]()
        for group in groups:
            known = [(strength, group.estimate(name)) for strength, name in sets]
            line = [(strength, found.value) for strength, found in known if found is not None]
            if len(line) > 1:
                tips = [f"{group.name} at {x:g}: {fixed(y)}" if regression else f"{group.name} at {x:g}: {percent(y)}"
                        for x, y in line]  # fmt: skip
                drawn.append(Series(group.name, group.style, line, line=True, markers=True, small=True, tips=tips))
        if drawn:
            across = Axis("share of words touched", holds=[x for part in drawn for x, _ in part.points])
            value = "mean squared error" if regression else "accuracy (%)"
            up = Axis(value, not regression, [y for part in drawn for _, y in part.points])
            shown = "; ".join(f"{part.name}: {_ends(part, regression)}" for part in drawn)
            found.append((title, chart(f"{task}: {title}", shown, across, up, drawn)))
    return found


def _ends(part: Series, regression: bool) -> str:
    first, last = (fixed(y) if regression else percent(y) for y in (part.points[0][1], part.points[-1][1]))
    return f"from {first} to {last}"
