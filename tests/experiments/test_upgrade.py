"""Folders of the version before: brought up to date where they are written to, without losing a row."""

import shutil
from pathlib import Path

import pytest

from made_runs import make_rows, outcomes, write_json, write_run
from rosetune.experiments import upgrade
from rosetune.experiments.evaluate import evaluate_again
from rosetune.experiments.upgrade import bring_up_to_date
from rosetune.runs.along import Followed
from rosetune.runs.run import Run

SETS = {
    "clean": outcomes(6, 2),
    "typos_1": outcomes(4, 4),
    "typos_2": outcomes(3, 5),
    "advglue": outcomes(2, 6),
    "advglue_originals": outcomes(7, 1),
}
STEPS = {10: {"clean": outcomes(5, 3), "typos_1": outcomes(1, 7), "typos_2": outcomes(2, 6)}}


@pytest.fixture
def old(tmp_path):
    return write_run(tmp_path / "a", SETS, steps=STEPS, end=20, before=True)


def everything(folder):
    """All rows of a run, its checkpoints' too."""
    run = Run(folder)
    places = [(name, None) for name in run.sets()] + [(name, step) for step in run.steps for name in run.sets(step)]
    return {place: run.rows(*place) for place in places}, run.steps


def files(folder: Path):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_file_for_each_set_with_the_same_rows(old):
    rows = everything(old.folder)
    bring_up_to_date(old.folder)
    assert not [*old.folder.glob("*.jsonl")]
    names = {str(path.relative_to(old.folder / "predictions")) for path in (old.folder / "predictions").rglob("*.js*")}
    assert names == {
        *(f"{name}.jsonl" for name in SETS),
        *(f"{kind}.json" for kind in ("clean", "noise", "advglue")),
        *(f"step-10/{name}.jsonl" for name in STEPS[10]),
        *(f"step-10/{name}.json" for name in ("clean", "noise", "step")),
        "step-20/step.json",
    }
    assert everything(old.folder) == rows
    assert rows[0]["clean", 10] == make_rows("clean", STEPS[10]["clean"])
    assert rows[1][20] == {"epoch": 0.2, "end": True}


def test_twice_is_once_and_a_new_folder_is_left_alone(old, tmp_path):
    bring_up_to_date(old.folder)
    once = files(old.folder)
    bring_up_to_date(old.folder)
    assert files(old.folder) == once
    new = write_run(tmp_path / "new", SETS, steps=STEPS, end=20)
    untouched = files(new.folder)
    bring_up_to_date(new.folder)
    assert files(new.folder) == untouched


class Killed(BaseException):
    """No library catches it."""


def killed_after(files: int, save: list[int], write):
    def call(*arguments):
        save[0] += 1
        if save[0] > files:
            raise Killed
        write(*arguments)

    return call


def test_killed_at_any_file_nothing_is_lost(old, tmp_path, monkeypatch):
    rows, number, killed = everything(old.folder), 0, True
    while killed:
        folder, written = Path(shutil.copytree(old.folder, tmp_path / f"copy-{number}")), [0]
        with monkeypatch.context() as patch:
            for name in ("write_json_lines", "write_json"):
                patch.setattr(upgrade, name, killed_after(number, written, getattr(upgrade, name)))
            try:
                bring_up_to_date(folder)
                killed = False
            except Killed:
                assert everything(folder) == rows
        bring_up_to_date(folder)
        assert everything(folder) == rows
        assert not [*folder.glob("*.jsonl")]
        number += 1
    assert number > 10


def test_what_is_there_is_not_predicted_again(old):
    """There is no model in the folder that could predict."""
    rows = everything(old.folder)
    run = evaluate_again(old.folder, "clean,noise,advglue")
    assert run.metrics["sets"]["clean"]["accuracy"] == 0.75
    assert list(run.metrics["sets"]) == [*SETS]
    assert everything(old.folder) == rows


def test_a_curve_is_read_from_either(old, tmp_path):
    new = write_run(tmp_path / "new", SETS, steps=STEPS, end=20)
    a, b = (Followed([run], ("noise",)) for run in (old, new))
    assert [a.metrics(a.reference, step) for step in (10, 20, None)] == [
        b.metrics(b.reference, step) for step in (10, 20, None)
    ]


def test_a_set_that_was_predicted_anew_stays(old):
    """What lies in a file of its own is newer than the old file."""
    newer = make_rows("clean", outcomes(8))
    write_json(old.folder / "predictions/clean.json", {"clean": 0})
    upgrade.write_json_lines(old.folder / "predictions/clean.jsonl", newer)
    bring_up_to_date(old.folder)
    assert Run(old.folder).rows("clean") == newer
