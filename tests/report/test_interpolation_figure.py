"""What the pictures of analyses call the models that they show."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rosetune.report.analyses import ends_of, run_of
from rosetune.report.analysis_figures import Pictures, draw_analyses
from rosetune.runs.analysed import Analysis


def line(step: int | None = None, other_step: int | None = None, **other: Any) -> Analysis:
    """From the first seed of rose to another model."""
    about: dict[str, Any] = {"kind": "interpolation", "method": "rose", "task": "t", "run_seed": 1, "name": "runs/1"}
    about |= {"other_method": "rose", "other_name": "runs/2", **other}
    about["settings"] = {"step": step, "other_step": other_step}
    alpha = np.array([-0.5, 0.0, 1.0, 1.5])
    return Analysis(Path(), about, {"alpha": alpha, "loss": alpha**2, "accuracy": alpha / 2})


@pytest.mark.parametrize(
    ("analysis", "ends"),
    [
        (line(other_method="vanilla", other_seed=1), ("rose", "vanilla")),
        (line(other_seed=2), ("rose, seed 1", "rose, seed 2")),
        (line(other_seed=1), ("rose, runs/1", "rose, runs/2")),
        (line(), ("rose, runs/1", "rose, runs/2")),  # as an earlier version left it
        (line(other_step=4, other_seed=1, other_name="runs/1@4"), ("rose", "rose, step 4")),
        (line(2, 4, other_seed=1, name="runs/1@2", other_name="runs/1@4"), ("rose, step 2", "rose, step 4")),
        (line(4, 4, other_seed=2), ("rose, step 4, seed 1", "rose, step 4, seed 2")),
    ],
)
def test_both_ends_of_a_line_are_told_apart(
    analysis: Analysis, ends: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ends_of(analysis) == ends
    pytest.importorskip("matplotlib")
    draw_analyses([analysis], Pictures(tmp_path / "line.svg"))
    assert f"{ends[0]} at 0, {ends[1]} at 1" in (tmp_path / "line.svg").read_text()


def disagreement(name: str, step: int | None) -> Analysis:
    about = {"kind": "disagreement", "method": "rose", "task": "t", "run_seed": 1, "at": step or 9}
    arrays = {"share": np.array(0.1), "standard_error": np.array(0.01)}
    return Analysis(Path(), {**about, "name": name, "settings": {"step": step}}, arrays)


def test_a_folder_may_have_an_at_in_its_name(tmp_path: Path) -> None:
    """Only the step of a checkpoint is taken off."""
    pytest.importorskip("matplotlib")
    found = [disagreement("runs/a@b", None), disagreement("runs/a@c", None), disagreement("runs/a@c@4", 4)]
    found.append(disagreement("runs/a@4", None))
    assert [run_of(one) for one in found] == ["runs/a@b", "runs/a@c", "runs/a@c", "runs/a@4"]
    draw_analyses(found, Pictures(tmp_path / "lines.svg"))
    drawn = (tmp_path / "lines.svg").read_text()
    assert all(f"rose, seed 1, runs/{name}<" in drawn for name in ("a@b", "a@c", "a@4"))
