"""A run over training: each checkpoint that it keeps on evaluation sets."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rosetune._files import write_json
from rosetune.experiments.checkpoints import checkpoints_of, end_step, read_state, step_of
from rosetune.experiments.data import checked_data, config_now
from rosetune.experiments.evaluate import NOTHING_ELSE, evaluate_again, note_sets, predict_sets
from rosetune.experiments.lock import locked
from rosetune.experiments.models import quiet_libraries
from rosetune.experiments.quick import missing_kinds
from rosetune.robustness.sets import EvaluationSet, evaluation_sets
from rosetune.runs.run import Run
from rosetune.runs.sets import SetName

__all__ = ["KEEP_ALL", "evaluate_along", "is_followed", "keeps_checkpoints"]

KEEP_ALL = 1000  # checkpoints, of about ten

Report = Callable[[str], Any]


def evaluate_along(
    run: str | Path,
    kinds: Sequence[str] | str,
    report: Report = print,
    noises: Sequence[str] | None = None,
    **moved: str | None,
) -> Run:
    """Evaluate a finished run and every checkpoint that it keeps, on the clean set and these kinds of sets.

    What a checkpoint predicts is kept in ``predictions/step-N``, and is not predicted again, also when the checkpoint
    is gone. The checkpoint whose weights are those of ``model/`` is the end. Checkpoints of a training with EMA hold
    weights that are not averaged: they are no earlier moments of its end, which alone is evaluated.

    Args:
        kinds: of :data:`~rosetune.runs.sets.KINDS`; the clean set is always among them.
        report: takes a line of text for the person who waits.
        noises, moved: as in :func:`evaluate_again`.

    Raises:
        RunError: the run is not finished, or the data is not the data it was trained on.
    """
    wanted = ("clean", *config_now(Run.open(run), kinds, moved, noises).sets)
    finished = evaluate_again(run, wanted, noises, NOTHING_ELSE, **moved)
    folder, checkpoints = finished.folder, {step_of(path): path for path in checkpoints_of(finished.folder)}
    if checkpoints and finished.config.training.get("averaging") == "ema":
        report(f"{run}: its checkpoints hold weights that are not averaged, so that only its end is evaluated")
        return Run.open(run)
    if checkpoints and not any(about["end"] for about in finished.steps.values()):
        step, epoch = end_step(folder, checkpoints)
        with locked(folder):
            write_json(_step_folder(folder, step) / "step.json", {"epoch": epoch, "end": True})
    ends = [step for step, about in Run.open(run).steps.items() if about["end"]]
    config = config_now(finished, wanted, moved, noises)
    places = {step: _step_folder(folder, step) for step in checkpoints if step not in ends}
    todo = [step for step, place in places.items() if missing_kinds(place, config.sets, noises)]
    sets: dict[str, dict[str, EvaluationSet]] = {}
    if todo:
        quiet_libraries()
        data = checked_data(finished, config)
        sets = {
            kind: _without_originals(evaluation_sets(data, kind, data_dir=config.data_dir, noises=noises))
            for kind in config.sets
        }
    for number, step in enumerate(todo, start=1):
        place = places[step]
        with locked(folder):
            missing = {kind: sets[kind] for kind in missing_kinds(place, config.sets, noises)}
            predict_sets(checkpoints[step], place, data, missing)
            if not (place / "step.json").is_file():
                write_json(place / "step.json", {"epoch": read_state(checkpoints[step])["epoch"], "end": False})
            for kind, parts in missing.items():  # last: with these the step is done
                note_sets(place / f"{kind}.json", dict.fromkeys(parts, 0))
        report(f"{run}: {checkpoints[step].name} evaluated ({number} of {len(todo)})")
    return Run.open(run)


def is_followed(run: Run, kinds: Sequence[str], noises: Sequence[str] | None) -> bool:
    """Whether some checkpoints of a run were evaluated on all these kinds of sets, and all that it still keeps.

    Args:
        kinds, noises: as in :func:`evaluate_along`.
    """
    others = [step for step, about in run.steps.items() if not about["end"]]
    kept = {step_of(path) for path in checkpoints_of(run.folder)} - {*run.steps}
    places = [_step_folder(run.folder, step) for step in others]
    return bool(others) and not kept and not any(missing_kinds(place, kinds, noises) for place in places)


def keeps_checkpoints(run: Run) -> bool:
    """Whether somebody has said how many checkpoints a run is to keep, so that they are not for a plan to delete."""
    return run.config.training.get("save_total_limit") not in (None, KEEP_ALL)


def _step_folder(folder: Path, step: int) -> Path:
    return folder / "predictions" / f"step-{step}"


def _without_originals(sets: Mapping[str, EvaluationSet]) -> dict[str, EvaluationSet]:
    return {name: part for name, part in sets.items() if not SetName.parse(name).is_original}
