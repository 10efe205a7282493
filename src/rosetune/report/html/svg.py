"""Charts as inline SVG: lines and points on two axes, and a grid of shares. Colours are the page's, by number."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from markupsafe import Markup, escape

__all__ = ["SHADES", "STYLES", "Axis", "Series", "chart", "heat_map", "plane", "swatch"]

# Colours are told apart by the marker and the dashes too, since not everybody sees them and paper may be grey.
STYLES = 8
SHADES = 10
_MARKERS = (
    "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0z",  # circle
    "M-3.6-3.6h7.2v7.2h-7.2z",  # square
    "M0-4.8L4.4 3.2h-8.8z",  # triangle
    "M0-5L5 0 0 5-5 0z",  # diamond
    "M0 4.8L4.4-3.2h-8.8z",  # triangle, upside down
    "M-1.5-4.5h3v3h3v3h-3v3h-3v-3h-3v-3h3z",  # cross
    "M-4.5-4.5L0-1.5 4.5-4.5 1.5 0 4.5 4.5 0 1.5-4.5 4.5-1.5 0z",  # star
    "M-2.2-4.6h4.4L4.6-1.5v3L2.2 4.6h-4.4L-4.6 1.5v-3z",  # octagon
)
_DASHES = ("", "6 2", "2 2", "8 2 2 2", "10 3", "4 4", "1 3", "6 2 1 2 1 2")
_WIDTH, _HEIGHT = 360, 240
_RIGHT, _TOP, _BOTTOM = 10, 10, 42
_LEAST_LEFT, _LETTER, _TITLE = 50, 6.8, 22  # pixels: room on the left, of a figure, of the title that stands there
_LONG = 6  # characters of a number, from which on all of an axis have an exponent
LABEL = 30  # characters of an axis' title; the chart's own title has the whole
Point = tuple[float, float]
Place = Callable[[float, float], tuple[str, str]]  # values of the axes -> left and top, in pixels


@dataclass(frozen=True)
class Series:
    """What is drawn in one colour.

    Attributes:
        name: for the reader of the screen.
        style: number of its colour, marker and dashes.
        points: (x, y), not finite ones left out.
        line: whether they are joined; ``markers``: whether each gets one; ``small``: of half the size.
        band: (x, low, high), drawn behind as an area.
        bars: (x low, x high, y low, y high) of each point, the 95% intervals.
        tips: of each marker, shown where the mouse rests.
        muted: a line of reference, thin and grey.
        scale: of the markers.
    """

    name: str
    style: int
    points: Sequence[Point]
    line: bool = False
    markers: bool = False
    small: bool = False
    band: Sequence[tuple[float, float, float]] = ()
    bars: Sequence[tuple[float, float, float, float]] = ()
    tips: Sequence[str] = ()
    muted: bool = False
    scale: float = 1.0


@dataclass(frozen=True)
class Axis:
    """A title, whether its values are shares that are shown in percent, and the values that it must hold.

    With ``names`` the values are 0, 1, 2 and so on, and shown as these.
    """

    title: str
    percent: bool = False
    holds: Sequence[float] = field(default_factory=tuple)
    names: Sequence[str] = ()

    def span(self) -> tuple[float, float]:
        """From the least to the largest value, with some air."""
        known = [value for value in self.holds if math.isfinite(value)] or [0.0, 1.0]
        low, high = min(known), max(known)
        air = 0.06 * (high - low) or 0.05 * abs(high) or 0.05
        return low - air, high + air

    def ticks(self) -> list[tuple[float, str]]:
        """Where round numbers stand, and how they are written: all of an axis in one way."""
        if self.names:
            every = math.ceil(len(self.names) / 12)
            return [(float(i), name) for i, name in enumerate(self.names) if i % every == 0]
        values = _ticks(*self.span(), 6)
        texts = [f"{100 * value if self.percent else value:.6g}" for value in values]
        if any(len(text.lstrip("-")) > _LONG for text in texts):
            texts = [_with_exponent(100 * value if self.percent else value) for value in values]
        return [*zip(values, texts, strict=True)]


def chart(title: str, description: str, x: Axis, y: Axis, series: Sequence[Series]) -> Markup:
    """Lines and points; what lies outside the axes is cut off at the frame.

    Args:
        title, description: for the reader of the screen.
    """
    (x_low, x_high), (y_low, y_high) = x.span(), y.span()
    longest = max((len(text) for _, text in y.ticks()), default=0)
    start = max(_LEAST_LEFT, math.ceil(_LETTER * longest) + 8 + (_TITLE if y.title else 0))
    width, height = _WIDTH - start - _RIGHT, _HEIGHT - _TOP - _BOTTOM

    def place(px: float, py: float) -> tuple[str, str]:
        left = width * (px - x_low) / (x_high - x_low)
        top = height * (1 - (py - y_low) / (y_high - y_low))
        return _short(min(max(left, -9e3), 9e3)), _short(min(max(top, -9e3), 9e3))

    parts = [*_grid(x, y, place, start, width, height)]
    parts.append(f'<svg x="{start}" y="{_TOP}" width="{width}" height="{height}" class="in">')
    for part in series:
        parts += _drawn(part, place)
    parts.append("</svg>")
    middle = _TOP + height / 2
    parts.append(f'<text x="{start + width / 2:.0f}" y="{_HEIGHT - 6}" class="at">{escape(_label(x.title))}</text>')
    parts.append(
        f'<text transform="translate(13 {middle:.0f})rotate(-90)" class="at">{escape(_label(y.title))}</text>'
    )
    return _figure(title, description, f"0 0 {_WIDTH} {_HEIGHT}", parts)


def heat_map(
    title: str, description: str, rows: Sequence[str], cells: Sequence[Sequence[float]], ends: tuple[str, str]
) -> Markup:
    """Shares in [0, 1] as ten shades, a line for each row; cells side by side of one shade are one stroke.

    Args:
        rows: their names, from the top.
        cells: by row, from left to right; one that is NaN is left blank.
        ends: what stands below the first and the last column.
    """
    left, side, width = max(92, math.ceil(_LETTER * max(map(len, rows))) + 8), 15, 250
    height = side * len(rows)
    parts = [*_shaded(cells, left, 4, width, height)]
    for row, name in enumerate(rows):
        parts.append(f'<text x="{left - 6}" y="{4 + side * row + 11}" class="yt">{escape(name)}</text>')
    for place, anchor, text in ((left, "start", ends[0]), (left + width, "end", ends[1])):
        parts.append(f'<text x="{place}" y="{height + 19}" class="{anchor}">{escape(text)}</text>')
    return _figure(title, description, f"0 0 {left + width + 10} {height + 26}", parts)


def plane(title: str, description: str, cells: Sequence[Sequence[float]], span: float) -> Markup:
    """A function of two numbers from -span to span as ten shades, with a cross at (0, 0).

    Args:
        cells: shares in [0, 1] by row, the first at the bottom.
    """
    left, top, side = 50, 10, 250
    parts = [*_shaded([*reversed(cells)], left, top, side, side)]
    parts.append(f'<path class="at0" d="M{left + side / 2 - 6} {top + side / 2}h12m-6-6v12"/>')
    for at, value in ((0.0, -span), (0.5, 0.0), (1.0, span)):
        parts.append(f'<text x="{left + side * at:.0f}" y="{top + side + 16}" class="xt">{value:g}</text>')
        parts.append(f'<text x="{left - 6}" y="{top + side * (1 - at) + 4:.0f}" class="yt">{value:g}</text>')
    parts.append(f'<text x="{left + side / 4:.0f}" y="{top + side + 16}" class="xt">alpha</text>')
    turned = f"translate({left - 8} {top + 3 * side / 4:.0f})rotate(-90)"
    parts.append(f'<text transform="{turned}" class="at">beta</text>')
    return _figure(title, description, f"0 0 {left + side + 24} {top + side + 24}", parts)


def _shaded(cells: Sequence[Sequence[float]], left: float, top: float, width: float, height: float) -> Iterator[str]:
    columns = max(map(len, cells))
    paths: dict[int, list[str]] = {}
    for row, values in enumerate(cells):
        at = 0
        while at < len(values):
            shade, stop = _shade(values[at]), at
            while stop < len(values) and _shade(values[stop]) == shade:
                stop += 1
            if shade is not None:
                paths.setdefault(shade, []).append(f"M{at} {row}h{stop - at}v1h{at - stop}z")
            at = stop
    yield (
        f'<svg x="{left}" y="{top}" width="{width}" height="{height}" viewBox="0 0 {columns} {len(cells)}" '
        'preserveAspectRatio="none" class="heat">'
    )
    yield from (f'<path class="h{shade}" d="{"".join(drawn)}"/>' for shade, drawn in sorted(paths.items()))
    yield "</svg>"


def swatch(style: int) -> Markup:
    """The marker and the line of a style, for a legend."""
    return Markup(
        f'<svg class="sw s{style % STYLES}" viewBox="0 0 34 12" aria-hidden="true">'
        f'<path class="l" d="M1 6h32"{_dashes(style)}/><path class="m" transform="translate(17 6)" '
        f'd="{_MARKERS[style % STYLES]}"/></svg>'
    )


def _figure(title: str, description: str, box: str, parts: Sequence[str]) -> Markup:
    told = f"<title>{escape(title)}</title><desc>{escape(description)}</desc>"
    return Markup(f'<svg class="chart" role="img" viewBox="{box}">{told}{"".join(parts)}</svg>')


def _drawn(part: Series, place: Place) -> Iterator[str]:
    finite = [i for i, point in enumerate(part.points) if all(map(math.isfinite, point))]
    kind = "mu" if part.muted else f"s{part.style % STYLES}"
    yield f'<g class="{kind}{" sm" if part.small else ""}">'
    if part.band:
        there = [(x, low, high) for x, low, high in part.band if math.isfinite(low + high)]
        upper = [place(x, high) for x, _, high in there]
        lower = [place(x, low) for x, low, _ in reversed(there)]
        yield f'<path class="b" d="{_path([*upper, *lower])}z"/>'
    if part.line and len(finite) > 1:
        dashes = "" if part.muted else _dashes(part.style)
        yield f'<path class="l" d="{_path([place(*part.points[i]) for i in finite])}"{dashes}/>'
    for i in finite if part.bars else ():
        (px, py), (x0, x1, y0, y1) = part.points[i], part.bars[i]
        across, down = (place(x0, py), place(x1, py)), (place(px, y1), place(px, y0))
        yield "".join(f'<path class="e" d="{_path(ends)}"/>' for ends in (across, down) if ends[0] != ends[1])
    for i in finite if part.markers or (part.line and len(finite) == 1) else ():
        left, top = place(*part.points[i])
        tip = f"<title>{escape(part.tips[i])}</title>" if part.tips else ""
        scale = 0.6 if part.small else part.scale
        size = "" if scale == 1 else f"scale({scale:.2g})".replace("(0.", "(.")
        shape = f'class="m" transform="translate({left} {top}){size}" d="{_MARKERS[part.style % STYLES]}"'
        yield f"<path {shape}>{tip}</path>" if tip else f"<path {shape}/>"
    yield "</g>"


def _grid(x: Axis, y: Axis, place: Place, start: int, width: int, height: int) -> Iterator[str]:
    yield f'<path class="ax" d="M{start} {_TOP}v{height}h{width}"/>'
    for tick, text in y.ticks():
        top = _TOP + float(place(0, tick)[1])
        yield f'<path class="gr" d="M{start} {top:.1f}h{width}"/>'
        yield f'<text x="{start - 6}" y="{top + 4:.1f}" class="yt">{escape(text)}</text>'
    for tick, text in x.ticks():
        left = start + float(place(tick, 0)[0])
        yield f'<text x="{left:.1f}" y="{_HEIGHT - _BOTTOM + 16}" class="xt">{escape(text)}</text>'


def _ticks(low: float, high: float, about: int) -> list[float]:
    """Round numbers in a span: steps of 1, 2 or 5 times a power of ten."""
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * times for times in (1, 2, 5, 10) if power * times >= rough)
    return [step * i for i in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _with_exponent(value: float) -> str:
    """``2.5e-5`` and the like; a round number of a chart needs no more than three figures."""
    figures, _, exponent = f"{value:.2e}".partition("e")
    short = figures.rstrip("0").rstrip(".")
    return f"{short}e{int(exponent)}" if value else "0"


def _label(title: str) -> str:
    return title if len(title) <= LABEL else f"{title[: LABEL - 1]}…"


def _path(points: Sequence[tuple[str, str]]) -> str:
    return "M" + "L".join(f"{left} {top}" for left, top in points) if points else ""


def _dashes(style: int) -> str:
    dashes = _DASHES[style % STYLES]
    return f' stroke-dasharray="{dashes}"' if dashes else ""


def _shade(value: float) -> int | None:
    return min(SHADES - 1, max(0, int(SHADES * value))) if math.isfinite(value) else None


def _short(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
