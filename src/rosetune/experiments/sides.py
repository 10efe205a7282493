"""The runs of one method, one per seed, with all that was predicted: a side of a comparison."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rosetune.experiments.attack import attack_files
from rosetune.experiments.config import RunError
from rosetune.experiments.evaluate import Rows, read_identity, read_metrics, read_predictions
from rosetune.experiments.options import read_run_config

__all__ = ["ATTACK", "Side", "make_side", "paired_sides", "read_side"]

ATTACK = "attack:"
_OUTCOMES = {"failed": "robust", "success": "broken", "skipped": "wrong"}
# Of an attack's header, what may differ between two models that suffered the same attack.
_OF_THE_RUN = ("model", "rows", "finished", "synonyms")


@dataclass(frozen=True)
class Side:
    """The runs of one method, one per seed.

    Attributes:
        title: the method, see :meth:`~rosetune.experiments.config.RunConfig.method`.
        task, labels: of all runs; labels in the order of the logits.
        runs, seeds, rows: folder, seed and prediction rows of each run. A finished attack on it is a set
            ``attack:NAME``, in which a row is "robust", "broken", or "wrong" before.
        attacks: what each attack was, by set; None for one that has not come to its end.
    """

    title: str
    task: str
    labels: tuple[str, ...]
    runs: tuple[str, ...]
    seeds: tuple[int, ...]
    rows: tuple[Rows, ...]
    attacks: tuple[dict[str, Any], ...]

    def take(self, seeds: Sequence[int]) -> "Side":
        """The runs of these seeds, in this order."""
        at = [self.seeds.index(seed) for seed in seeds]
        picked: dict[str, Any] = {
            name: tuple(getattr(self, name)[i] for i in at) for name in ("runs", "seeds", "rows", "attacks")
        }
        return dataclasses.replace(self, **picked)


def read_side(runs: str) -> Side:
    """The finished runs of one method, named with commas between them.

    Raises:
        RunError: a run is not finished, or the runs differ in more than their seed.
    """
    folders = [runs] if Path(runs).is_dir() else [part.strip() for part in runs.split(",") if part.strip()]
    if not folders:
        raise RunError("name at least one run")
    for folder in folders:
        read_metrics(folder)
    identities = [_without_seed(read_identity(folder)) for folder in folders]
    if any(identity != identities[0] for identity in identities):
        raise RunError(f"{runs}: commas stand between several seeds of one method, but these runs differ in more")
    return make_side(folders)


def make_side(folders: Sequence[str]) -> Side:
    """Finished runs as one side.

    Raises:
        RunError: a run is not finished or was evaluated by another version, or two have the same seed.
    """
    metrics = [read_metrics(folder) for folder in folders]
    if not all(m.get("labels") for m in metrics):
        raise RunError(f"{', '.join(folders)}: metrics.json names no labels; evaluate again with `rosetune evaluate`")
    configs = [read_run_config(folder) for folder in folders]
    seeds = tuple(int(config.training.get("seed", 42)) for config in configs)
    if len(set(seeds)) < len(seeds):
        raise RunError(f"{', '.join(folders)}: two runs have the same seed, {seeds}")
    attacks = [_attacked(folder) for folder in folders]
    return Side(
        title=configs[0].method(),
        task=read_identity(folders[0])["task"],
        labels=tuple(metrics[0]["labels"]),
        runs=tuple(folders),
        seeds=seeds,
        rows=tuple({**_predicted(folder), **rows} for folder, (rows, _) in zip(folders, attacks, strict=True)),
        attacks=tuple(headers for _, headers in attacks),
    )


def paired_sides(a: Side, b: Side) -> tuple[Side, Side]:
    """Both sides with the same seeds in the same order; a single run pairs with a single run of any seed.

    Raises:
        RunError: not the same task and labels, or no common seeds.
    """
    if {*map(_place, a.runs)} & {*map(_place, b.runs)}:
        raise RunError(f"{a.runs[0]} stands on both sides: compare two different runs")
    if (a.task, a.labels) != (b.task, b.labels):
        raise RunError(f"{a.runs[0]} is a run on {a.task}, {b.runs[0]} on {b.task}: compare runs of one task")
    if len(a.runs) == len(b.runs) == 1:
        return a, b
    common = sorted({*a.seeds} & {*b.seeds})
    if not common:
        seeds = " and ".join(", ".join(map(str, side.seeds)) for side in (a, b))
        raise RunError(f"runs are paired by their seed, but none is on both sides: {seeds}")
    return a.take(common), b.take(common)


def _place(run: str) -> Path:
    return Path(run).resolve()


def _predicted(run: str) -> Rows:
    try:
        return read_predictions(run)
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(f"{run}/predictions.jsonl is damaged ({error}): remove it and evaluate again") from error


def _attacked(run: str) -> tuple[Rows, dict[str, Any]]:
    rows: Rows = {}
    headers: dict[str, Any] = {}
    for name, (header, results) in attack_files(run).items():
        headers[f"{ATTACK}{name}"] = None
        if header["finished"]:
            headers[f"{ATTACK}{name}"] = {key: v for key, v in header.items() if key not in _OF_THE_RUN}
            rows[f"{ATTACK}{name}"] = [_outcome(f"{ATTACK}{name}", result) for result in results]
    return rows, headers


def _outcome(name: str, result: dict[str, Any]) -> dict[str, Any]:
    known = {"original_id": result["original_id"]} if "original_id" in result else {}
    outcome = _OUTCOMES.get(result["status"], "wrong")
    return {"set": name, "id": result["id"], "gold": "robust", "prediction": outcome, "label": result["gold"], **known}


def _without_seed(identity: dict[str, Any]) -> dict[str, Any]:
    # The trace that a mask follows, and the seed of its draws, belong to the run's seed.
    own = ("trace", "seed")
    training = {
        name: {key: part for key, part in value.items() if key not in own} if isinstance(value, dict) else value
        for name, value in identity["training"].items()
        if name != "seed"
    }
    return {**identity, "training": training}
