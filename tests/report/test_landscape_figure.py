"""The figure of landscapes: levels that all models share, contours and surfaces."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from made_analyses import write_analysis
from made_runs import ROSE, outcomes, write_run
from rosetune.report.analyses import LOSS_CEILING, analysis_grid, as_json, figures_of, level_of, loss_levels
from rosetune.report.landscape_figure import draw_landscapes
from rosetune.runs.analysed import Analysis, find_analyses
from rosetune.runs.run import Run

LOW = np.array([[0.46, 0.44, 0.46], [0.43, 0.40, 0.43], [0.46, 0.44, 0.46]])
HIGH = np.array([[0.50, 0.47, 0.50], [0.46, 0.45, 0.46], [0.50, 0.47, 0.50]])


@pytest.fixture
def landscapes(tmp_path: Path) -> list[Analysis]:
    """Of two models whose losses all lie above half of a guess's, which is 0.347."""
    axis, found = np.array([-0.25, 0.0, 0.25]), []
    for name, training, loss in (("vanilla", {}, HIGH), ("rose", ROSE, LOW)):
        run = write_run(tmp_path / name, {"clean": outcomes(3, 1)}, training)
        arrays = {"alpha": axis, "beta": axis, "loss": loss, "accuracy": 1 - loss}
        write_analysis(run, "landscape", arrays, points=3, span=0.25)
        found += find_analyses(run.folder, "landscape")
    return found


@pytest.fixture
def figure() -> Any:
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure

    return Figure(layout="constrained")


def lines_at(figure: Any, level: float) -> int:
    """How many panels have a contour at one level alone."""
    sets = [part for axes in figure.axes for part in axes.collections if hasattr(part, "levels")]
    return sum(len(part.levels) == 1 and math.isclose(part.levels[0], level) for part in sets)


def test_the_level_is_the_median_of_all_grids_together(landscapes: list[Analysis]) -> None:
    # Of the 18 losses nine are below 0.46 or, of them the last, at it: 0.40, 0.43 x 2, 0.44 x 2, 0.45, then 0.46 x 6.
    assert level_of(landscapes, None) == pytest.approx(0.46)
    figures = [one["figures"] for one in as_json(landscapes)]
    assert {one["level"] for one in figures} == {0.46}
    assert [one["share_below_level"] for one in figures] == [pytest.approx(3 / 9), 1.0]
    assert level_of(landscapes[:1], None) == pytest.approx(0.47)  # the fifth of nine
    asked = [one["figures"] for one in as_json(landscapes, 0.455)]
    assert [one["share_below_level"] for one in asked] == [pytest.approx(1 / 9), pytest.approx(5 / 9)]


# No loss of the second model lies above 0.46, so that there is no line to draw.
@pytest.mark.parametrize(("level", "drawn", "panels"), [(None, 0.46, 1), (0.455, 0.455, 2)])
def test_the_level_that_is_asked_for_is_drawn(
    level: float | None, drawn: float, panels: int, landscapes: list[Analysis], figure: Any
) -> None:
    draw_landscapes(figure, landscapes, level)
    assert lines_at(figure, drawn) == panels


def test_each_model_has_a_surface_of_its_losses(landscapes: list[Analysis], figure: Any) -> None:
    draw_landscapes(figure, landscapes, None)
    solids = [axes for axes in figure.axes if axes.name == "3d"]
    assert len(solids) == len(landscapes)
    for axes, loss in zip(solids, (HIGH, LOW), strict=True):
        assert axes.zz_dataLim.intervalx == pytest.approx((loss.min(), loss.max()))
        assert axes.xy_dataLim.intervalx == pytest.approx((-0.25, 0.25))
        assert axes.get_zlim() == pytest.approx((0.40, 0.50))  # the same for all of them


def test_a_model_that_has_diverged_everywhere_is_drawn_flat(landscapes: list[Analysis], figure: Any) -> None:
    for analysis in landscapes:
        analysis.arrays["loss"][:] = math.inf
    levels = loss_levels([analysis.arrays["loss"] for analysis in landscapes], 4)
    assert levels == pytest.approx([LOSS_CEILING] * 5, abs=1e-5)
    assert (np.diff(levels) > 0).all()
    draw_landscapes(figure, landscapes, None)
    figure.canvas.draw()
    assert [axes.get_title() for axes in figure.axes if "loss inf" in axes.get_title()]


def test_off_the_grid_nothing_is_near_the_model(landscapes: list[Analysis]) -> None:
    """As an even number of points has it, in a file of an earlier version."""
    axis = np.array([-0.25, 0.25])
    arrays = {"alpha": axis, "beta": axis, "loss": HIGH[:2, :2], "accuracy": HIGH[:2, :2]}
    figures = figures_of(Analysis(landscapes[0].path, landscapes[0].about, arrays))
    assert all(math.isnan(figures[name]) for name in ("loss", "accuracy", "share_near_own_loss", "curvature_1"))


class TestHessianBeside:
    def test_it_is_that_of_the_same_model_and_rows(self, landscapes: list[Analysis]) -> None:
        run = Run.open(landscapes[1].path.parent.parent)
        for number, (step, samples, rows) in enumerate(
            [(None, 4, {}), (None, 20, {}), (4, 99, {}), (None, 99, {"examples": 7})], start=1
        ):
            parts = {"loss": 1.0, "top": 10.0 * number, "trace": 50.0 * number, "trace_error": 1.0}
            arrays = {name: np.array(value) for name, value in parts.items()}
            write_analysis(run, "hessian", arrays, step=step, samples=samples, tolerance=0.001, **rows)
        found = figures_of(landscapes[1])
        assert (found["largest_eigenvalue"], found["trace"]) == (20.0, 100.0)
        grid = analysis_grid("", ["a", "b"], landscapes)
        assert grid.columns[-2:] == ("largest eigenvalue", "trace")
        assert [row[-2:] for row in grid.rows if row] == [("-", "-"), ("20", "100")]

    def test_without_one_there_is_no_column(self, landscapes: list[Analysis]) -> None:
        assert "trace" not in analysis_grid("", ["a", "b"], landscapes).columns

    def test_a_damaged_one_stops_no_landscape(self, landscapes: list[Analysis]) -> None:
        (landscapes[0].path.parent / "hessian-1.npz").write_bytes(b"PK")
        assert "trace" not in figures_of(landscapes[0])
