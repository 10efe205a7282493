"""The section of what analyses found: what is drawn, what is left out, and where it is said."""

import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from markupsafe import escape

from made_analyses import write_analyses, write_analysis
from made_runs import ROSE, outcomes, write_run
from rosetune.report.html.groups import grouped, kept
from rosetune.report.html.inside import looks
from rosetune.report.html.page import render
from rosetune.runs.run import Run

KINDS = [
    *("Loss landscapes", "Curvature", "On the line between two models", "Dropout disagreement"),
    *("Which tensors the masks keep", "Distance from the pre-trained weights"),
]


@pytest.fixture
def runs(tmp_path: Path) -> list[Run]:
    """Two methods, of two seeds each."""
    sets = {"clean": outcomes(30, 10)}
    return [
        write_run(tmp_path / f"{name}-{seed}", sets, {**training, "seed": seed}, metrics=True)
        for name, training in (("vanilla", {}), ("rose", ROSE))
        for seed in (1, 2)
    ]


def found(runs: list[Run], room: int = 4) -> tuple[list, list[str], list[str]]:
    told: list[str] = []
    notes: list[str] = []
    (groups,) = grouped(kept(runs, told.append), told.append).values()
    return looks("my", groups, room, told.append, notes), told, notes


def test_every_kind_has_its_sentence_its_picture_and_its_figures(runs: list[Run]) -> None:
    for run in (runs[0], runs[2]):
        write_analyses(run, points=5)
    seen, told, notes = found(runs)
    assert [look.name for look in seen] == KINDS
    assert (told, notes) == ([], [])
    assert [len(look.charts) for look in seen] == [2, 0, 2, 1, 2, 1]
    assert all(look.how.count(". ") == 0 and look.how.endswith(".") for look in seen)
    for look in seen:
        assert "vanilla" in look.table
        assert "rose-ensemble" in look.table
        for _, chart in look.charts:
            ElementTree.fromstring(str(chart))
    page = render(runs, [], report=lambda line: None)
    assert page.count('id="inside"') == 1
    for look in seen:
        assert look.name in page
        assert escape(look.how) in page


def test_without_analyses_there_is_no_section(runs: list[Run]) -> None:
    assert found(runs) == ([], [], [])
    assert 'id="inside"' not in render(runs, [], report=lambda line: None)


def test_shades_of_a_landscape_are_levels_that_all_models_share(runs: list[Run]) -> None:
    """The lowest band is blank-most, the highest the strongest, and the first row of the grid is at the bottom."""
    axis = np.array([-0.25, 0.0, 0.25])
    low, high = np.full((3, 3), 1.0), np.full((3, 3), 1.0)
    high[0] = 2.0
    for run, loss in ((runs[0], low), (runs[2], high)):
        arrays = {"alpha": axis, "beta": axis, "loss": loss, "accuracy": loss / 2}
        write_analysis(run, "landscape", arrays, points=3, span=0.25)
    (look,), _, _ = found(runs)
    assert look.scale == ("1", "2")
    shades = [dict(re.findall(r'<path class="h(\d)" d="([^"]*)"', str(chart))) for _, chart in look.charts]
    assert shades == [
        {"0": "M0 0h3v1h-3zM0 1h3v1h-3zM0 2h3v1h-3z"},
        {"0": "M0 0h3v1h-3zM0 1h3v1h-3z", "9": "M0 2h3v1h-3z"},
    ]


def test_what_is_left_out_is_said(runs: list[Run]) -> None:
    for run in runs:
        write_analyses(run, points=103)
    seen, told, notes = found(runs, room=1)
    assert told == []
    assert "my: landscapes of 1 models are drawn; left out: rose-ensemble." in notes
    assert "my: landscapes: of 103 x 103 points one row and column in 3 is drawn." in notes
    assert "my: 2 of 4 analyses of the kind hessian are left out, of further seeds or with other settings" in str(
        notes
    )
    (name, chart), *others = seen[0].charts
    assert (name, others) == ("vanilla", [])
    view = re.search(r'viewBox="0 0 (\d+) (\d+)" preserveAspectRatio', str(chart))
    assert view is not None
    assert view.groups() == ("35", "35")  # 51 is the middle of 0 to 102: 0, 3, ..., 51, ..., 102


def test_settings_that_most_share_are_taken(runs: list[Run]) -> None:
    for run, points in ((runs[0], 5), (runs[0], 7), (runs[2], 7)):
        axis = np.linspace(-0.25, 0.25, points)
        loss = np.add.outer(axis**2, axis**2)
        arrays = {"alpha": axis, "beta": axis, "loss": loss, "accuracy": 1 - loss}
        write_analysis(run, "landscape", arrays, points=points, span=0.25)
    (look,), _, notes = found(runs)
    assert [name for name, _ in look.charts] == ["vanilla", "rose-ensemble"]
    assert all('viewBox="0 0 7 7"' in str(chart) for _, chart in look.charts)
    assert "1 of 3 analyses of the kind landscape" in str(notes)


def test_what_is_damaged_or_not_finished_is_named(runs: list[Run]) -> None:
    write_analyses(runs[0], points=5)
    write_analyses(runs[2], points=5)
    (path,) = (runs[2].folder / "analysis").glob("hessian-*.npz")
    path.write_bytes(b"PK")
    (path,) = (runs[2].folder / "analysis").glob("drift-*.npz")
    write_analysis(runs[2], "drift", {"names": np.array(["a"])})
    axis = np.array([-0.25, 0.0, 0.25])
    loss = np.array([[1.0, 2, 3], [np.nan] * 3, [np.nan] * 3])
    write_analysis(runs[1], "landscape", {"alpha": axis, "beta": axis, "loss": loss, "accuracy": loss}, points=3)
    seen, told, _ = found(runs)
    assert [look.name for look in seen] == KINDS[:-1]
    assert [line.partition(": ")[0] for line in told] == [
        f"the landscape of {runs[1]} is left out",
        f"of {runs[2]} a part is left out",
        "my",
    ]
    assert "is damaged" in told[1]
    assert "analyses of the kind drift are left out" in told[2]
