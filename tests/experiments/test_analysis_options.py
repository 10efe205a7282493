"""Options of analyses: what they decide, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rosetune.experiments.analysis_options import AnalysisOptions
from rosetune.experiments.analyze import analyse
from rosetune.experiments.plan_reader import parse_plan
from rosetune.runs.run import RunError

SMALL = {"examples": 4, "points": 3, "samples": 2, "tolerance": 0.1}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"examples": 0}, "--examples must be at least 1, not 0"),
        ({"points": 2}, "--points must be at least 3, not 2"),
        ({"span": 0.0}, "--span must be above 0, not 0.0"),
        ({"normalise": "layer"}, "--normalise must be one of filter, tensor, not 'layer'"),
        ({"direction_seed": -1}, "--direction_seed must be at least 0, not -1"),
    ],
)
def test_wrong_options(given: dict[str, Any], said: str) -> None:
    with pytest.raises(RunError) as caught:
        AnalysisOptions(**given)
    assert str(caught.value) == said


def test_a_landscape_of_an_even_number_of_points_is_refused(library: Any) -> None:
    """The model would not be on the grid; a line needs no middle."""
    said = "--points of a landscape must be odd, so that the model itself is on the grid: give 5, not 4"
    run = str(library.run("vanilla"))
    with pytest.raises(RunError) as caught:
        analyse("landscape", [run], AnalysisOptions(points=4))
    assert str(caught.value) == said
    with pytest.raises(RunError, match="must be odd"):
        parse_plan("tasks: [demo]\nmethods: [vanilla]\nanalyze: {what: landscape, points: 4}\n")
    AnalysisOptions(points=4).check_for("interpolation")


def test_other_directions_leave_the_rows_as_they_are(library: Any, tmp_path: Path) -> None:
    run = str(library.copy(library.run("vanilla"), tmp_path / "run"))
    (first,) = analyse("landscape", [run], AnalysisOptions(**SMALL))
    (other,) = analyse("landscape", [run], AnalysisOptions(**SMALL, direction_seed=1))
    (same,) = analyse("landscape", [run], AnalysisOptions(**SMALL, direction_seed=0))
    (both,) = analyse("landscape", [run], AnalysisOptions(**SMALL, seed=1))
    assert same.path == first.path  # it is the grid that there was
    assert len({first.path, other.path, both.path}) == 3
    here, there = first.arrays["loss"], other.arrays["loss"]
    assert there[1, 1] == here[1, 1]  # the same rows
    assert (there != here).sum() == 8
    assert both.arrays["loss"][1, 1] != here[1, 1]
    assert other.about["settings"] == {**first.about["settings"], "direction_seed": 1}


def test_the_end_needs_no_checkpoint_of_its_own(library: Any, tmp_path: Path) -> None:
    """Asked for by its step it is the model that is found without asking."""
    run = str(library.copy(library.run("vanilla"), tmp_path / "run"))
    (found,) = analyse("disagreement", [run], AnalysisOptions(**SMALL))
    (asked,) = analyse("disagreement", [run], AnalysisOptions(**SMALL, steps=(6, 600)))
    assert (asked.path, asked.about["at"]) == (found.path, 6)
    assert np.array_equal(asked.arrays["rows"], found.arrays["rows"])
    with pytest.raises(RunError, match=r"does not keep the checkpoint of step 4 \(kept: none\)"):
        analyse("disagreement", [run], AnalysisOptions(**SMALL, steps=(4,)))
