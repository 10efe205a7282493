"""Finished runs for tables: folders with the three files that figures are read from, importable as ``many_runs``."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from rosetune.runs.run import Run

METHODS: dict[str, dict[str, Any]] = {
    "vanilla": {},
    "r-drop": {"objective": "r_drop"},
    "rose-first": {"update_mask": "rose", "update_mask_kwargs": {"order": "first"}},
    "rose-ensemble": {"update_mask": "rose", "update_mask_kwargs": {"order": "ensemble"}},
    "r-drop+rose-first": {"objective": "r_drop", "update_mask": "rose", "update_mask_kwargs": {"order": "first"}},
    "passes-2": {"objective_kwargs": {"passes": 2}},
    "static": {"update_mask": "static"},
}


def part(accuracy: Any, n: int = 100, **more: Any) -> dict[str, Any]:
    """The metrics of one set."""
    return {"n": n, "accuracy": accuracy, "low": 0.0, "high": 1.0, "constant": {"label": "a", "accuracy": 0.5}, **more}


def write_scores(
    folder: Path,
    sets: Mapping[str, Any],
    method: str | Mapping[str, Any] = "vanilla",
    *,
    seed: int = 1,
    task: str = "sst2",
    model: str = "org/roberta-base",
    config: Mapping[str, Any] | None = None,
    **identity: Any,
) -> Run:
    """One run.

    Args:
        sets: by name the accuracy, or the whole of its metrics.
        method: of :data:`METHODS`, or training arguments.
        config: further options of ``config.yaml``.
        identity: further entries of ``run.json``.
    """
    training = {**(METHODS[method] if isinstance(method, str) else method), "seed": seed}
    folder.mkdir(parents=True)
    described = {"task": task, "text_columns": ["text"], "data_fingerprint": "x", "model_name_or_path": model}
    (folder / "run.json").write_text(json.dumps({**described, "training": training, **identity}))
    options = {"task": task, "model_name_or_path": model, **training, **(config or {})}
    (folder / "config.yaml").write_text(yaml.safe_dump(options))
    metrics = {name: value if isinstance(value, dict) else part(value) for name, value in sets.items()}
    (folder / "metrics.json").write_text(json.dumps({"labels": ["a", "b"], "sets": metrics}))
    return Run.open(folder)


def write_methods(
    home: Path, seeds: Mapping[str, int], tasks: tuple[str, ...] = ("sst2", "rte"), **options: Any
) -> list[Run]:
    """Runs on clean and AdvGLUE: so many seeds of each method, better the later it comes, on each task."""
    rng, found = np.random.default_rng(7), []
    for place, (method, count) in enumerate(seeds.items()):
        for task in tasks:
            for seed in range(1, count + 1):
                clean, robust = rng.normal(0.9 - 0.01 * place, 0.01), rng.normal(0.3 + 0.03 * place, 0.03)
                sets = {"clean": round(clean, 4), "advglue": round(robust, 4)}
                found.append(
                    write_scores(home / task / method / f"{seed}", sets, method, seed=seed, task=task, **options)
                )
    return found
