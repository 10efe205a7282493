"""All metrics of a run, from its prediction rows alone."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rosetune.data.tasks import find_task
from rosetune.robustness.advglue import advglue_report, average_and_drop, official_score
from rosetune.robustness.rows import set_metrics
from rosetune.runs.files import read_json
from rosetune.runs.further import further_measures
from rosetune.runs.measures import SHARED
from rosetune.runs.run import Run
from rosetune.runs.sets import SetName

__all__ = ["over_tasks", "run_metrics", "select_kinds"]


def run_metrics(folder: Path, labels: Sequence[str]) -> dict[str, Any]:
    """What ``metrics.json`` holds.

    labels    names in the order of the logits
    sets      by evaluation set, see :func:`~rosetune.robustness.rows.set_metrics` and
              :func:`~rosetune.runs.further.further_measures`; of a further file, and of a user's clean set, also
              ``in_training_data``, how many of its texts the model was trained on, where there are such
    advglue   AdvGLUE's official score, the drop from clean accuracy to it, its sets by attack, and where items
              were left out since their texts are in the training data, how many (None: not known, of a run of the
              version before): then there is no official score
    """
    run = Run(folder)
    names = [name for name in run.sets() if SetName.parse(name).attack is None]
    metrics: dict[str, Any] = {"labels": list(labels)}
    further = further_measures(run, {name: run.rows(name) for name in names}, labels)
    metrics["sets"] = {
        name: {**set_metrics(run.rows(name), labels), **_shared(run, name), **further[name]} for name in names
    }
    return metrics | _advglue(run, names, metrics["sets"])


def _shared(run: Run, name: str) -> dict[str, int]:
    of_file = SetName.parse(name).kind == "file"
    path = run.folder / "predictions" / (f"{name}.json" if of_file else SHARED)
    known = read_json(path, "remove it") if path.is_file() else {}
    shared = known.get("shared" if of_file else name) if isinstance(known, dict) else None
    return {"in_training_data": shared} if isinstance(shared, int) and shared else {}


def _advglue(run: Run, names: Sequence[str], sets: Mapping[str, Any]) -> dict[str, Any]:
    parsed = [SetName.parse(name) for name in names]
    parts = [part for part in parsed if part.kind == "advglue" and not part.is_original]
    if not parts:
        return {}
    rows = {part.name: run.rows(part.name) for part in parts}
    reports = {
        part.name: advglue_report(
            rows[part.name], run.rows(part.originals) if part.originals in names else ()
        ).as_json()
        for part in parts
    }
    path = run.folder / "predictions" / "advglue.json"
    known = read_json(path, "remove it") if path.is_file() else {}
    left_out = {name: n for name, n in known.items() if n != 0 and name in rows}
    complete = len(parts) == len(getattr(find_task(run.task), "advglue", ())) and not left_out
    score = official_score(run.task, rows) if complete else None
    drop = sets["clean"]["accuracy"] - sets["advglue"]["accuracy"] if {"clean", "advglue"} <= sets.keys() else None
    found: dict[str, Any] = {"official_score": score, "drop": drop, "sets": reports}
    return {"advglue": found | ({"left_out": left_out} if left_out else {})}


def select_kinds(metrics: dict[str, Any], kinds: Sequence[str]) -> dict[str, Any]:
    """The part of a run's metrics that is about these kinds of sets."""
    kept = {name: m for name, m in metrics["sets"].items() if SetName.parse(name).kind in kinds}
    return {name: m for name, m in metrics.items() if name != "advglue" or "advglue" in kinds} | {"sets": kept}


def over_tasks(metrics: Mapping[str, dict[str, Any]]) -> tuple[float, float] | None:
    """Average and drop over the tasks of several runs, as the ROSE paper's Table 1 has them.

    Args:
        metrics: of one run per task, by task.

    Returns:
        See :func:`~rosetune.robustness.advglue.average_and_drop`; None for fewer than two tasks, or where a run has
        not been evaluated on both its clean set and AdvGLUE.
    """
    sets = {task: m["sets"] for task, m in metrics.items()}
    if len(sets) < 2 or not all({"clean", "advglue"} <= s.keys() for s in sets.values()):
        return None
    clean, adversarial = ({task: s[name]["accuracy"] for task, s in sets.items()} for name in ("clean", "advglue"))
    return average_and_drop(clean, adversarial)
