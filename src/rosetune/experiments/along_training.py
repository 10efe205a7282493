"""A run's checkpoints on evaluation sets: robust against clean accuracy as a curve over training."""

import dataclasses
import filecmp
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rosetune._files import read_json_lines, write_json_lines
from rosetune.experiments.checkpoints import checkpoints_of
from rosetune.experiments.config import RunConfig, RunError
from rosetune.experiments.evaluate import Rows, checked_data, config_now, evaluate_again, read_predictions
from rosetune.experiments.models import load_trained, quiet_libraries, trained_labels
from rosetune.experiments.sets import ORIGINALS, evaluation_sets, kind_of
from rosetune.experiments.tables import progress, set_title
from rosetune.robustness.evaluation import predict
from rosetune.robustness.rows import prediction_rows, set_metrics

__all__ = ["Point", "end_of", "evaluate_along", "has_curve", "kept_points", "no_checkpoints"]

FILE = "along_training.jsonl"

Report = Callable[[str], Any]
Kept = dict[int, dict[str, Any]]  # by step: "epoch", "end", and "rows" by evaluation set


@dataclass(frozen=True)
class Point:
    """A run's model after some steps.

    Attributes:
        step, epoch: when; None for the end of a run that keeps no checkpoints.
        end: whether this is the model that the run reports.
        rows: prediction rows by evaluation set.
        metrics: of each set, see :func:`~rosetune.robustness.rows.set_metrics`.
    """

    step: int | None
    epoch: float | None
    end: bool
    rows: Rows
    metrics: dict[str, dict[str, Any]]

    def accuracy(self, name: str) -> float:
        """On one evaluation set."""
        return self.metrics[name]["accuracy"]

    def as_json(self) -> dict[str, Any]:
        """Without the rows."""
        return {"step": self.step, "epoch": self.epoch, "end": self.end, "sets": self.metrics}


def evaluate_along(
    run: str | Path, kinds: Sequence[str] | str, report: Report = print, **moved: str | None
) -> list[Point]:
    """Evaluate every checkpoint of a finished run, and its end, in the order of training.

    The prediction rows are kept in ``along_training.jsonl`` of the run's folder, each with its ``step``, ``epoch`` and
    whether it is the ``end``. The file is written anew after each checkpoint: a killed call goes on from there, and
    what is in it is not predicted again, also when the checkpoints are gone. The checkpoint whose weights are those of
    ``model/`` is the end, and is not predicted a second time.

    Args:
        kinds: of :data:`~rosetune.experiments.config.KINDS`; the clean set is always among them.
        report: takes a line of text for the person who waits.
        moved: as in :func:`~rosetune.experiments.evaluate.evaluate_again`.

    Raises:
        RunError: the run is not finished, keeps no checkpoints, or the data is not the data it was trained on.
    """
    run, config = Path(run), _config(run, kinds, moved)
    if not has_curve(run):
        raise no_checkpoints(str(run))
    end = end_of(run, kinds, **moved)
    kept, checkpoints = _read(run), {_step(path): path for path in checkpoints_of(run)}
    step, epoch = _kept_end(kept) if kept else _end_step(run, checkpoints)
    before = kept.get(step, {"rows": {}})["rows"]
    kept[step] = {"epoch": epoch, "end": True, "rows": {**before, **end.rows}}
    if before.keys() != kept[step]["rows"].keys():
        _write(run, kept)
    todo = [s for s in checkpoints if s not in kept or not end.rows.keys() <= kept[s]["rows"].keys()]
    if todo:
        _predict(run, config, list(end.rows), {s: checkpoints[s] for s in todo}, kept, report)
    labels = trained_labels(run)
    whole = [step for step in sorted(kept) if end.rows.keys() <= kept[step]["rows"].keys()]
    return [_point(step, kept[step], list(end.rows), labels) for step in whole]


def end_of(run: str | Path, kinds: Sequence[str] | str, **moved: str | None) -> Point:
    """The model that a finished run reports, evaluated on the clean set and these kinds of sets.

    Raises:
        RunError: as :func:`evaluate_along`, but for the checkpoints.
    """
    wanted = _config(run, kinds, moved).sets
    evaluate_again(run, wanted, **moved)
    rows = {
        name: part
        for name, part in read_predictions(run).items()
        if kind_of(name) in wanted and not name.startswith(ORIGINALS)
    }
    labels = trained_labels(run)
    return Point(None, None, True, rows, {name: set_metrics(part, labels) for name, part in rows.items()})


def kept_points(run: str | Path) -> list[Point]:
    """What :func:`evaluate_along` has kept of a run, in the order of training; no model is asked."""
    kept = _read(Path(run))
    labels = trained_labels(run) if kept else ()
    return [_point(step, kept[step], list(kept[step]["rows"]), labels) for step in sorted(kept)]


def has_curve(run: str | Path) -> bool:
    """Whether a run keeps checkpoints, or has kept what was predicted from them."""
    return bool(checkpoints_of(Path(run))) or (Path(run) / FILE).is_file()


def no_checkpoints(runs: str) -> RunError:
    """What to do about it."""
    return RunError(
        f"{runs} keeps no checkpoints, as a finished run deletes them: train it in another --output_dir with "
        "--save_total_limit 20 (and --save_steps N)"
    )


def _config(run: str | Path, kinds: Sequence[str] | str, moved: Mapping[str, str | None]) -> RunConfig:
    config = config_now(run, kinds, moved)
    return dataclasses.replace(config, sets=("clean", *config.sets))


def _predict(
    run: Path, config: RunConfig, names: Sequence[str], todo: Mapping[int, Path], kept: Kept, report: Report
) -> None:
    data = checked_data(run, config)
    sets = {
        name: dataset
        for kind in config.sets
        for name, dataset in evaluation_sets(data, kind, data_dir=config.data_dir).items()
        if name in names
    }
    quiet_libraries()
    for number, (step, path) in enumerate(todo.items(), start=1):
        model, tokenizer, labels = load_trained(path)
        point = kept.get(step, {"epoch": _state(path)["epoch"], "end": False, "rows": {}})
        for name in [name for name in sets if name not in point["rows"]]:
            with progress(f"{path.name} on {set_title(name)}") as bar:
                logits = predict(model, tokenizer, sets[name], data.text_columns, progress=bar)
            point["rows"][name] = prediction_rows(name, sets[name], logits, labels)
        kept[step] = point
        _write(run, kept)
        report(f"{run}: {path.name} evaluated ({number} of {len(todo)})")


def _end_step(run: Path, checkpoints: Mapping[int, Path]) -> tuple[int, float]:
    """Step and epoch of the reported model: where the same weights were saved, or else the last of the training."""
    weights = sorted(path.name for path in (run / "model").glob("*.safetensors"))
    for step, path in sorted(checkpoints.items(), reverse=True):
        if weights and not any(filecmp.cmpfiles(run / "model", path, weights, shallow=False)[1:]):
            return step, _state(path)["epoch"]
    state = _state(checkpoints[max(checkpoints)])
    return state["max_steps"], state["epoch"] * state["max_steps"] / state["global_step"]


def _kept_end(kept: Kept) -> tuple[int, float]:
    return next((step, point["epoch"]) for step, point in kept.items() if point["end"])


def _state(checkpoint: Path) -> dict[str, Any]:
    try:
        return json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{checkpoint} is incomplete (no readable trainer_state.json): delete that folder") from error


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.removeprefix("checkpoint-"))


def _read(run: Path) -> Kept:
    kept: Kept = {}
    for row in read_json_lines(run / FILE) if (run / FILE).is_file() else []:
        step, epoch, end = (row.pop(name) for name in ("step", "epoch", "end"))
        point = kept.setdefault(step, {"epoch": epoch, "end": end, "rows": {}})
        point["rows"].setdefault(row["set"], []).append(row)
    return kept


def _write(run: Path, kept: Kept) -> None:
    rows = (
        {"step": step, "epoch": kept[step]["epoch"], "end": kept[step]["end"], **row}
        for step in sorted(kept)
        for part in kept[step]["rows"].values()
        for row in part
    )
    write_json_lines(run / FILE, rows)


def _point(step: int, kept: Mapping[str, Any], names: Sequence[str], labels: Sequence[str]) -> Point:
    rows = {name: kept["rows"][name] for name in names}
    metrics = {name: set_metrics(part, labels) for name, part in rows.items()}
    return Point(step, kept["epoch"], kept["end"], rows, metrics)
