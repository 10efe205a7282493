"""Tables on a terminal of any width: no figure is ever cut or broken, and nothing is taken for markup."""

import io
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from rich.markup import escape
from rich.text import Text

from made_runs import ROSE, make_rows, number_rows, outcomes, write_attack, write_run
from rosetune.report.compare import print_compared
from rosetune.report.console import (
    BREAK,
    Grid,
    accuracy_cell,
    accuracy_grid,
    console,
    difference_cell,
    interval_cell,
    mean_cell,
    p_text,
    percent,
    points,
    print_grid,
    said_of,
)
from rosetune.report.html.tables import table
from rosetune.report.metrics import print_metrics
from rosetune.report.predictions import SHOWN, predictions_table
from rosetune.robustness.rows import set_metrics
from rosetune.robustness.statistics import difference, difference_of_errors

WIDTHS = range(20, 201)


def printed(show, *arguments, width=80):
    file = io.StringIO()
    show(Console(file=file, width=width, highlight=False), *arguments)
    return file.getvalue()


def said(text):
    return " ".join(text.split())


def plain(cell):
    return Text.from_markup(cell.replace(BREAK, " ")).plain


def figures(grid):
    """Every piece of a cell that must stand in one line: names whole, figures and intervals each whole."""
    cells = [cell for row in grid.rows if row is not None for cell in row]
    return {Text.from_markup(piece).plain for cell in cells for piece in re.split(f"[{BREAK}\n]", cell) if piece}


def check(grid, width):
    text = printed(print_grid, grid, width=width)
    lines = text.splitlines()
    for figure in figures(grid):
        assert any(figure in line for line in lines), (width, figure, text)
    assert "…" not in text
    return text


def wide_grid(columns=8, name="punctuation inserted"):
    heads = ("", *(f"typing errors {i}\n(n = {100 * i})" for i in range(1, columns + 1)))
    grid = Grid("Accuracy in % [95%], of a model with a rather long name", heads, caption="Of one seed.")
    for row in range(3):
        cells = (interval_cell((row + i) / 20, 0.0 + i / 40, 1 - i / 40) for i in range(columns))
        grid.rows.append((f"{name} {row}", *cells))
    grid.rows.append(None)
    grid.rows.append(("constant", *(f"{50 + i}.0" for i in range(columns))))
    return grid


class TestWidths:
    @pytest.mark.parametrize("grid", [wide_grid(), wide_grid(2), wide_grid(1, "a"), wide_grid(3, "打字错误")])
    def test_no_figure_is_cut_at_any_width(self, grid):
        for width in WIDTHS:
            check(grid, width)

    CELL = st.one_of(
        st.floats(-1, 1).map(percent),
        st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1)).map(lambda v: interval_cell(*v)),
        st.just("-"),
        st.just(""),
        st.just("80.0\n[dim](step 20)[/dim]"),
        st.text(st.characters(categories=("L", "N", "P")), max_size=12).map(escape),
    )

    @settings(max_examples=60, deadline=None)
    @given(st.data(), st.integers(1, 9), st.integers(1, 4), st.sampled_from([20, 23, 37, 60, 80, 120, 200]))
    def test_of_any_table(self, data, columns, rows, width):
        heads = data.draw(st.lists(st.text("abc [x] \n", max_size=14), min_size=columns, max_size=columns))
        grid = Grid("title", ("", *heads))
        for i in range(rows):
            cells = data.draw(st.lists(self.CELL, min_size=columns, max_size=columns))
            grid.rows.append((f"row {i}", *cells))
        check(grid, width)

    def test_where_there_is_room_a_line_a_row(self):
        text = check(wide_grid(), 200)
        row = next(line for line in text.splitlines() if "inserted 1" in line)
        assert " ".join(row.split()).startswith("punctuation inserted 1 5.0 [0.0,100.0] 10.0 [2.5,97.5]")

    def test_then_intervals_go_below_their_figures(self):
        cells = [interval_cell(i / 10, i / 20, i / 10 + 0.1) for i in range(1, 5)]
        text = check(Grid("t", ("", *"abcd"), [("a name", *cells)]), 60)
        lines = text.splitlines()
        at = next(i for i, line in enumerate(lines) if "a name" in line)
        assert lines[at].split() == ["a", "name", "10.0", "20.0", "30.0", "40.0"]
        assert lines[at + 1].split() == ["[5.0,20.0]", "[10.0,30.0]", "[15.0,40.0]", "[20.0,50.0]"]

    def test_then_the_columns_go_into_several_tables(self):
        text = check(wide_grid(), 80)
        assert text.count("punctuation inserted 1") > 1
        assert max(map(len, text.splitlines())) <= 80
        order = [int(n) for n in re.findall(r"n = (\d+)", text)]
        assert order == [100 * i for i in range(1, 9)]

    def test_and_at_last_each_row_is_a_list(self):
        text = check(wide_grid(), 30)
        assert said(text).startswith(wide_grid().title)
        assert "punctuation inserted 1\n    typing errors 1 (n = 100): 5.0 [0.0,100.0]\n" in text
        assert text.endswith("    typing errors 8 (n = 800): 57.0\nOf one seed.\n\n")

    def test_an_empty_cell_of_a_list_is_left_out(self):
        grid = Grid("t", ("", "a rather long head of a column", "b"), [("a name", "", "1.0")])
        assert printed(print_grid, grid, width=20).splitlines() == ["t", "a name", "    b: 1.0", ""]

    def test_a_line_between_rows(self):
        assert check(wide_grid(2), 200).count("─" * 20) == 2  # below the heads, and above the constant

    def test_one_blank_line_ends_a_table(self):
        for width in (30, 80, 200):
            lines = [line.strip() for line in check(wide_grid(), width).splitlines()]
            assert all(lines[:3])
            assert lines[-3] != ""
            assert lines[-2:] == [wide_grid().caption, ""]

    def test_no_rows_and_no_columns_of_figures(self):
        for width in (20, 80):
            assert "only names" in printed(print_grid, Grid("only names", ("",), [("a",)]), width=width)
            assert "nothing" in printed(print_grid, Grid("nothing", ("", "a")), width=width)


class TestMarkup:
    NAME = "runs/[v2]/[bold]x[/bold] [/] \\[a]"

    @pytest.mark.parametrize("width", [20, 60, 200])
    def test_what_looks_like_markup_is_shown_whole(self, width):
        m = set_metrics(make_rows("clean", outcomes(6, 4)), ("bad", "good"))
        grid = accuracy_grid(self.NAME, [(self.NAME, {"clean": m, "file_a[b]": m})], ["clean", "file_a[b]"])
        text = printed(print_grid, grid, width=width)
        assert self.NAME in text or width == 20
        assert self.NAME in [line.strip()[: len(self.NAME)] for line in text.splitlines()]
        assert "a[b]" in text
        assert "60.0" in text

    def test_titles_heads_and_captions(self):
        grid = Grid("[red]title", ("", "[head]"), [("a", "1")], caption="[caption]")
        for width in (20, 80):
            text = printed(print_grid, grid, width=width)
            for words in ("[red]title", "[head]", "[caption]"):
                assert words in text

    def test_a_file_with_brackets_in_its_name(self, tmp_path):
        sets = {"clean": outcomes(8, 4), "file_my[v2]": outcomes(6, 6)}
        runs = [write_run(tmp_path / n, sets, training, metrics=True) for n, training in (("[a]", {}), ("[b]", ROSE))]
        assert "my[v2]" in printed(print_metrics, str(runs[0]), runs[0].metrics)
        assert str(runs[0]) in printed(print_metrics, str(runs[0]), runs[0].metrics, width=300)
        text = printed(print_compared, [runs[0]], [runs[1]], {}, width=300)
        assert text.count("my[v2]") >= 2
        assert str(runs[1]) in text

    @pytest.mark.parametrize("width", [12, 60])
    def test_the_code_of_an_emoji_stays_as_it_is(self, width):
        grid = Grid("t:smile:", ("", "c:smile:"), [("x:smile:", "1 :smile:")], caption="d:smile:")
        text = printed(print_grid, grid, width=width)
        for words in ("t:smile:", "x:smile:", "c:smile:", "1 :smile:", "d:smile:"):
            assert words in text
        assert "x:smile:" in table(grid)

    def test_of_what_is_printed_beside_tables_too(self, capsys):
        console().print("runs/x:smile:")
        assert capsys.readouterr().out == "runs/x:smile:\n"

    def test_predictions(self):
        rows = [{"te[xt]": "a [bold]film", "label": "[good]", "probabilities": {"[good]": 0.75, "bad": 0.25}}]
        text = printed(lambda out: out.print(predictions_table(rows * (SHOWN + 10), ["te[xt]"], 80)))
        assert text.count("a [bold]film") == SHOWN
        assert "te[xt]" in text
        assert "[good]" in text


class TestCells:
    def test_shares(self):
        assert (percent(0.1234), percent(None), points(-0.05), points(0)) == ("12.3", "-", "-5.0", "+0.0")
        assert plain(interval_cell(0.5, 0.25, 1)) == "50.0 [25.0,100.0]"
        assert plain(interval_cell(0.5, 0.25, 1, sign="+")) == "+50.0 [+25.0,+100.0]"
        assert interval_cell(None, 0.1, 0.2) == interval_cell(0.1, None, 0.2) == "-"

    def test_squared_errors_are_no_shares(self):
        assert (mean_cell(0.5, True), mean_cell(0.5, False), mean_cell(None, True)) == ("0.500", "50.0", "-")
        assert plain(interval_cell(0.5, 0.25, 1, sign="+", regression=True)) == "+0.500 [+0.250,+1.000]"
        m = set_metrics(number_rows("clean", [0, 1, 2], [0, 1.5, 2]), ())
        assert plain(accuracy_cell(m)).startswith("0.083 [")

    def test_a_difference_is_bold_where_it_is_shown(self):
        better = difference(outcomes(40, 60), outcomes(90, 10))
        same = difference(outcomes(40, 60), outcomes(41, 59))
        assert plain(difference_cell(better)).startswith("+50.0 [+4")
        assert difference_cell(better).startswith("[bold]")
        assert difference_cell(same).startswith("[dim]")
        errors = difference_of_errors([1.0, 1.2] * 20, [0.25, 0.2] * 20)
        assert plain(difference_cell(errors, regression=True)).startswith("+0.875 [+0.8")

    def test_p_is_never_zero(self):
        assert [p_text(p) for p in (1e-9, 0.0009, 0.001, 0.0456, 1)] == [
            *("< 0.001", "< 0.001", "= 0.001", "= 0.046", "= 1.000")
        ]

    def test_what_is_said(self):
        d = difference(outcomes(40, 60), outcomes(90, 10))
        back = difference(outcomes(90, 10), outcomes(40, 60))
        none = difference(outcomes(40, 60), outcomes(41, 59))
        assert [said_of(one, "rose") for one in (d, back, none)] == [
            *("rose is better", "rose is worse", "within the noise")
        ]


class TestOneRun:
    def test_every_figure_of_the_metrics(self, tmp_path):
        kinds = {"method": ["SCPN", "T3"] * 5, "data_construction": ["sentence"] * 10}
        sets = {
            "clean": outcomes(7, 3),
            "typos_1": outcomes(6, 4),
            "ocr@0.1": outcomes(5, 5),
            "advglue": make_rows("advglue", outcomes(4, 6), **kinds),
        }
        run = write_run(tmp_path / "a", sets, metrics=True)
        for width in (40, 80, 200):
            text = printed(print_metrics, str(run), run.metrics, width=width)
            for words in ("70.0", "60.0", "50.0", "40.0", "ocr", "sentence", "SCPN", "T3"):
                assert words in text
            assert "…" not in text

    def test_of_a_regression(self, tmp_path):
        rows = {
            name: number_rows(name, range(20), [i + shift for i in range(20)])
            for name, shift in (("clean", 0.5), ("ocr@0.1", 1.5))
        }
        run = write_run(tmp_path / "a", rows, labels=(), metrics=True)
        text = printed(print_metrics, str(run), run.metrics)
        assert "mean squared error [95%]" in text
        assert "0.250" in text
        assert "Noise curve: mean squared error [95%]" in text
        assert "2.250" in text
        assert "accuracy" not in text.lower()


def test_every_number_of_a_comparison_at_every_width(tmp_path):
    """Of what is printed at 20 columns no figure is missing that is there at 200."""
    kinds = {"method": ["TextFooler"] * 20, "data_construction": ["word"] * 20}
    runs = []
    for name, right, training in (("a", outcomes(8, 12), {}), ("b", outcomes(18, 2), ROSE)):
        sets = {"clean": outcomes(16, 4), "typos_1": right, "ocr@0.1": right}
        runs.append(write_run(tmp_path / name, {**sets, "advglue": make_rows("advglue", right, **kinds)}, training))
        write_attack(runs[-1], ["failed"] * 5 + ["success"] * 5)
    numbers = {
        width: re.findall(r"[+-]?\d+\.\d+", printed(print_compared, [runs[0]], [runs[1]], {}, width=width))
        for width in (20, 47, 80, 200)
    }
    assert len(numbers[200]) > 60
    assert all(sorted(found) == sorted(numbers[200]) for found in numbers.values())
