"""Methods at equal clean accuracy over the seeds, against figures written out by hand and scipy's test."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import ttest_rel

from made_runs import ROSE, outcomes, write_run
from rosetune.report.html.equal import baseline_curves, equal_grid
from rosetune.report.html.groups import Group, grouped, kept
from rosetune.runs.run import Run


def sets(clean: int, typos: int) -> dict[str, Any]:
    return {"clean": outcomes(clean, 100 - clean), "typos_1": outcomes(typos, 100 - typos)}


def plain(home: Path, seed: int, curve: dict[int, tuple[int, int]] | None, **more: Any) -> Run:
    """A baseline; of a curve the last step is the end."""
    steps = {step: sets(*found) for step, found in (curve or {}).items()} or None
    end = max(curve) if curve else None
    place = home / f"plain-{seed}-{len(more)}"
    return write_run(place, sets(*curve[end] if curve and end else (90, 70)), {"seed": seed}, metrics=True,
                     steps=steps, end=end, **more)  # fmt: skip


def rose(home: Path, seed: int, clean: int, typos: int, **more: Any) -> Run:
    return write_run(
        home / f"rose-{seed}-{len(more)}", sets(clean, typos), {**ROSE, "seed": seed}, metrics=True, **more
    )


def rows(*runs: Run) -> list[tuple[str, ...]]:
    """The table's, without headings."""
    groups: list[Group] = grouped(kept(runs, pytest.fail), lambda line: None)["my"]
    (base, *_) = [group for group in groups if group.name.startswith("vanilla")]
    grid = equal_grid("my", groups, base, baseline_curves(base, base.sets), ["typos_1"])
    return [] if grid is None else [row for row in grid.rows if row is not None and row[1]]


def test_each_seed_stands_beside_its_own_curve(tmp_path: Path) -> None:
    runs = [
        plain(tmp_path, 1, {10: (60, 50), 20: (80, 60), 30: (90, 70)}),
        plain(tmp_path, 2, {10: (50, 40), 20: (90, 80), 30: (92, 60)}),
        plain(tmp_path, 3, {10: (70, 55), 20: (80, 60), 30: (84, 66)}),
        rose(tmp_path, 1, 85, 75),
        rose(tmp_path, 2, 70, 72),
        rose(tmp_path, 3, 82, 71),
    ]
    stopped, own = np.array([65.0, 60.0, 63.0]), np.array([75.0, 72.0, 71.0])  # on straight lines
    interval = ttest_rel(own, stopped).confidence_interval()
    ((name, clean, _, there, less),) = rows(*runs)
    assert (name, clean) == ("rose-ensemble", "79.0")
    assert there == "62.7\n[dim](3 of 3 seeds)[/dim]"
    assert less.startswith(f"+{np.mean(own - stopped):.1f}")
    assert f"{interval.low:+.1f},{interval.high:+.1f}" in less


def test_a_seed_without_a_curve_does_not_count(tmp_path: Path) -> None:
    curve = {10: (60, 50), 20: (90, 70)}
    runs = [plain(tmp_path, 1, curve), plain(tmp_path, 2, None), rose(tmp_path, 1, 75, 75), rose(tmp_path, 2, 75, 90)]
    ((*_, there, less),) = rows(*runs)
    assert there == "60.0\n[dim](1 of 2 seeds)[/dim]"
    assert less == "+15.0"


def test_curves_of_other_seeds_are_no_curves(tmp_path: Path) -> None:
    curve = {10: (60, 50), 20: (90, 70)}
    runs = [plain(tmp_path, 1, curve), rose(tmp_path, 2, 75, 75), rose(tmp_path, 3, 75, 75)]
    assert rows(*runs)[0][-2:] == ("[dim]no curve of its seeds[/dim]", "-")
    assert rows(*runs[:2])[0][-1] == "+15.0"  # one and one, of whatever seeds


@pytest.mark.parametrize(("clean", "said"), [(95, "never there"), (40, "before")])
def test_why_a_curve_has_no_such_moment(tmp_path: Path, clean: int, said: str) -> None:
    curve = {10: (60, 50), 20: (90, 70)}
    assert rows(plain(tmp_path, 1, curve), rose(tmp_path, 1, clean, 60))[0][-2] == f"[dim]{said}[/dim]"


def test_another_model_is_no_method(tmp_path: Path) -> None:
    curve = {10: (60, 50), 20: (90, 70)}
    other: dict[str, Any] = {"model_name_or_path": "other sha256:0", "config": {"model_name_or_path": "other"}}
    runs = [plain(tmp_path, 1, curve), rose(tmp_path, 1, 75, 75), rose(tmp_path, 1, 80, 80, **other)]
    assert len(rows(*runs)) == 1
