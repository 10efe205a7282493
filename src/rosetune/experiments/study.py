"""The Optuna study behind a search, and what it holds in the end."""

import logging
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rosetune.experiments.search_options import SearchOptions
from rosetune.experiments.search_space import Dimension, rounded
from rosetune.runs.identity import identity_hash
from rosetune.runs.values import RunError

__all__ = ["open_study", "study_result"]

_FEW = 4  # trials, below which no importance is told


def open_study(
    folder: Path, identity: Mapping[str, Any], options: SearchOptions, points: Sequence[Mapping[str, Any]] | None
) -> Any:
    """The study, begun or found again."""
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    from rosetune.experiments.samplers import make_sampler

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    given = options.storage or str(folder / "journal.log")
    if "://" not in given:
        _mend(Path(given).expanduser())
    try:
        storage = given if "://" in given else JournalStorage(JournalFileBackend(str(Path(given).expanduser())))
        return optuna.create_study(
            study_name=f"rosetune-{identity_hash(identity)}",
            storage=storage,
            sampler=make_sampler(options.sampler, options.search_seed, points),
            direction="maximize",
            load_if_exists=True,
        )
    except ModuleNotFoundError as error:
        raise RunError(f"--storage {given} needs the driver of that database: {error}") from error
    except Exception as error:  # of a database: each has errors of its own
        raise RunError(f"--storage {given} cannot be used: {str(error).splitlines()[0]}") from error


def _mend(journal: Path) -> None:
    """Cut off a last line that a full disk has left unfinished: Optuna would refuse the whole file for it."""
    if not journal.is_file() or Path(f"{journal}.lock").is_symlink():  # which is there while another process writes
        return
    text = journal.read_bytes()
    if not text.endswith(b"\n"):
        os.truncate(journal, text.rfind(b"\n") + 1)


def study_result(study: Any, space: Mapping[str, Dimension], folder: Path) -> dict[str, Any]:
    """Every trial in the order of its number, and the best of those that came to their end (of equals the first)."""
    trials = []
    for trial in study.get_trials(deepcopy=False):
        scores = trial.user_attrs.get("scores", [])
        last = scores[-1] if scores else {}
        trials.append(
            {
                "number": trial.number,
                "state": trial.state.name.lower(),
                "options": {name: rounded(trial.params.get(name)) for name in space},
                "value": last.get("value"),
                "scores": {name: last[name] for name in last if name not in ("value", "steps", "same_as")},
                "steps": last.get("steps"),
                "same_as": last.get("same_as"),
                "error": trial.user_attrs.get("error"),
            }
        )
    done = [trial for trial in trials if trial["state"] == "complete"]
    best = max(done, key=lambda trial: trial["value"], default=None)
    return {"folder": str(folder), "best": best, "trials": trials, "importance": _importance(study, done)}


def _importance(study: Any, done: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Share of the variance of values that each option explains (fANOVA); nothing where too few trials differ."""
    import optuna

    values = [trial["value"] for trial in done]
    if len(values) < _FEW or math.isclose(min(values), max(values)):
        return {}
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    return {
        n: float(share) for n, share in optuna.importance.get_param_importances(study, evaluator=evaluator).items()
    }
