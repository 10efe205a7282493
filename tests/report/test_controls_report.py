"""What a claim's controls have come to, also under the attacks that the claim has suffered."""

from pathlib import Path

import pytest

from made_runs import ROSE, outcomes, write_attack, write_run
from rosetune.report.controls import not_attacked, results_grid
from rosetune.runs.run import Run

SETS = {"clean": outcomes(8, 2)}


@pytest.fixture
def claim(tmp_path: Path) -> Run:
    run = write_run(tmp_path / "claim", SETS, ROSE, metrics=True)
    write_attack(run, ["failed"] * 3 + ["success"] * 7)
    return run


def test_controls_that_suffered_the_same_attack_are_shown_under_it(claim: Run, tmp_path: Path) -> None:
    """Another budget is another attack.."""
    alike, other, none = (write_run(tmp_path / n, SETS, metrics=True) for n in ("alike", "other", "none"))
    write_attack(alike, ["failed"] * 2 + ["success"] * 9)
    write_attack(other, ["failed"] * 10, budget=7)
    controls = {"alike": alike, "other": other, "none": none}
    grid = results_grid(claim, controls)
    assert grid.columns[-1].startswith("under pwws")
    cells = {row[0]: row[-1].partition("\x1f")[0] for row in grid.rows if row is not None}
    assert [cells[name] for name in ("the claim", "alike", "other", "none")] == ["30.0", "18.2", "-", "-"]
    assert [cell for name, cell in cells.items() if "constant" in name] == ["50.0"]  # of the claim's ten rows
    [said] = not_attacked(claim, controls)
    assert f"`rosetune attack {other} {none} --attack pwws`" in said


def test_nothing_is_said_of_attacks_where_there_was_none(tmp_path: Path) -> None:
    claim, control = (write_run(tmp_path / name, SETS, metrics=True) for name in "ab")
    assert results_grid(claim, {"b": control}).columns[1:] == ("clean\n(n = 10)",)
    assert not_attacked(claim, {"b": control}) == []
