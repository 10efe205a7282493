"""Folders of the version before, brought up to date where they are written to again."""

from collections.abc import Iterable
from pathlib import Path

from rosetune._files import write_json, write_json_lines
from rosetune.runs.files import Rows
from rosetune.runs.run import Run
from rosetune.runs.sets import SetName

__all__ = ["bring_up_to_date"]


def bring_up_to_date(folder: Path) -> None:
    """Predictions that lie in one file, and those of checkpoints in another, as a file for each set.

    The old files go last, so that a killed call loses nothing.
    """
    run = Run(folder)
    sets, steps = run.sets_before, run.steps_before
    if sets:
        _spread(folder / "predictions", sets)
        (folder / "predictions.jsonl").unlink()
    if steps:
        for step, (about, rows) in steps.items():
            place = folder / "predictions" / f"step-{step}"
            _spread(place, {} if about["end"] else rows)  # the end's are the run's own
            write_json(place / "step.json", about)
        (folder / "along_training.jsonl").unlink()


def _spread(place: Path, sets: dict[str, Rows]) -> None:
    for name, rows in sets.items():
        if not (place / f"{name}.jsonl").is_file():
            write_json_lines(place / f"{name}.jsonl", rows)
    for kind in _kinds(sets):
        if not (place / f"{kind}.json").is_file():
            write_json(
                place / f"{kind}.json", dict.fromkeys(name for name in sets if SetName.parse(name).kind == kind)
            )


def _kinds(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(SetName.parse(name).kind for name in names))
