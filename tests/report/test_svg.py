"""Charts: where a value stands, what is cut off, and what a reader of the screen is told."""

import re
from xml.etree import ElementTree

import pytest

from rosetune.report.html.svg import STYLES, Axis, Series, chart, heat_map, swatch

SHARES = Axis("clean & robust", percent=True, holds=[0.0, 1.0])


def drawn(*series: Series, x: Axis = SHARES, y: Axis = SHARES) -> ElementTree.Element:
    """A chart, which must be well-formed."""
    return ElementTree.fromstring(str(chart("<title>", 'told "so"', x, y, series)))


def places(root: ElementTree.Element, name: str = "m") -> list[tuple[float, float]]:
    found = [path.get("transform", "") for path in root.iter("path") if path.get("class") == name]
    numbers = [re.findall(r"-?[\d.]+", text.partition(")")[0]) for text in found]
    return [(float(left), float(top)) for left, top in numbers]


def frame(root: ElementTree.Element) -> tuple[float, float]:
    inner = next(svg for svg in root.iter("svg") if svg.get("class") == "in")
    return float(inner.get("width", "")), float(inner.get("height", ""))


def test_a_value_stands_where_the_axes_say() -> None:
    """The middle in the middle; more is further right and higher; the ends leave some air."""
    root = drawn(Series("a", 0, [(0.0, 0.0), (0.5, 0.5), (1.0, 1.0)], markers=True))
    (x0, y0), middle, (x1, y1) = places(root)
    width, height = frame(root)
    assert middle == pytest.approx((width / 2, height / 2), abs=0.1)
    assert 0 < x0 < x1 < width
    assert 0 < y1 < y0 < height
    assert x0 == pytest.approx(width - x1, abs=0.1)


def test_ticks_are_round_numbers_in_percent() -> None:
    texts = [text.text for text in drawn(Series("a", 0, [(0.0, 0.0)])).iter("text")]
    assert {"0", "20", "40", "60", "80", "100"} <= {*texts}
    assert texts.count("clean & robust") == 2


@pytest.mark.parametrize("value", [0.0, 0.5, -3.0, 1e-12, 1e12])
def test_one_value_alone_has_axes(value: float) -> None:
    root = drawn(
        Series("a", 0, [(value, value)], markers=True), x=Axis("x", holds=[value]), y=Axis("y", holds=[value])
    )
    width, height = frame(root)
    assert places(root)[0] == pytest.approx((width / 2, height / 2), abs=0.1)


def test_what_is_not_finite_is_not_drawn() -> None:
    nan = float("nan")
    root = drawn(Series("a", 0, [(0.0, 0.0), (nan, 1.0), (1.0, nan), (1.0, 1.0)], line=True, markers=True))
    assert len(places(root)) == 2
    assert "nan" not in ElementTree.tostring(root, encoding="unicode")
    assert drawn(x=Axis("x"), y=Axis("y", holds=[nan])) is not None


def test_names_are_text() -> None:
    root = drawn(Series("<b>", 0, [(0.5, 0.5)], markers=True, tips=["<i>tip</i>"]))
    assert [title.text for title in root.iter("title")] == ["<title>", "<i>tip</i>"]
    assert next(root.iter("desc")).text == 'told "so"'
    assert root.get("role") == "img"


def test_intervals_go_from_end_to_end() -> None:
    root = drawn(Series("a", 0, [(0.5, 0.5)], markers=True, bars=[(0.25, 0.75, 0.0, 1.0)]))
    across, down = (path.get("d", "") for path in root.iter("path") if path.get("class") == "e")
    width, height = frame(root)
    (x0, y0), (x1, y1) = (map(float, point.split()) for point in across[1:].split("L"))
    assert y0 == y1 == pytest.approx(height / 2, abs=0.1)
    assert (x0 + x1) / 2 == pytest.approx(width / 2, abs=0.1)
    assert down != across


def test_no_two_styles_look_alike_without_colour() -> None:
    looks = [re.sub(r"\bs\d\b", "", str(swatch(style))) for style in range(STYLES)]
    assert len({*looks}) == STYLES


def test_shades_of_a_grid_cover_every_cell_once() -> None:
    cells = [[0.05, 0.05, 0.95, 1.0], [0.55, 0.05, 0.05, 0.05]]
    root = ElementTree.fromstring(str(heat_map("t", "d", ["a<", "b"], cells, ("step 1", "step 4"))))
    found: dict[tuple[int, int], int] = {}
    for path in root.iter("path"):
        shade = int(path.get("class", "").removeprefix("h"))
        for left, top, width in re.findall(r"M(\d+) (\d+)h(\d+)v1", path.get("d", "")):
            for column in range(int(left), int(left) + int(width)):
                assert (int(top), column) not in found
                found[int(top), column] = shade
    assert found == {
        (row, i): min(9, int(10 * value)) for row, part in enumerate(cells) for i, value in enumerate(part)
    }
    assert [text.text for text in root.iter("text")] == ["a<", "b", "step 1", "step 4"]


@pytest.mark.parametrize("low", [0.0001, 0.000012, -0.00025, 123456.0, 0.25])
def test_the_figures_of_an_axis_have_room(low: float) -> None:
    """Every label on the left, right-aligned, begins within the picture and behind the title."""
    for title, least in (("", 0), ("a title", 19)):
        root = drawn(Series("a", 0, [(0.0, low)]), y=Axis(title, holds=[low, 1.7 * low]))
        labels = [text for text in root.iter("text") if text.get("class") == "yt"]
        assert len(labels) >= 3
        for label in labels:
            letters = len(label.text or "")
            assert float(label.get("x", "")) - 6.7 * letters >= least  # the widest figure of the page's fonts at 12 px
            assert letters <= 8
            assert float(label.text or "") == pytest.approx(float(f"{float(label.text or ''):.2e}"))


def test_names_in_the_place_of_figures() -> None:
    names = ["emb.", *map(str, range(24)), "head"]
    root = drawn(Series("a", 0, [(0.0, 0.0)]), x=Axis("layer", holds=range(len(names)), names=names))
    texts = [text.text for text in root.iter("text") if text.get("class") == "xt"]
    assert texts == names[::3]


def test_a_blank_cell_has_no_shade() -> None:
    root = ElementTree.fromstring(str(heat_map("t", "d", ["a"], [[float("nan"), 0.0]], ("", ""))))
    assert [path.get("d") for path in root.iter("path")] == ["M1 0h1v1h-1z"]
