"""Probes of methods: their sentences as files that runs are trained and tested on, and what the runs say."""

import csv
import json
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

from rosetune._files import replacing
from rosetune.analysis.probing.generator import Surface, generate_probe
from rosetune.analysis.probing.items import Part, Probe
from rosetune.analysis.probing.msgs import read_msgs
from rosetune.analysis.probing.scoring import PARTS, Preference, Probes, matthews
from rosetune.experiments.planned import PlannedRun
from rosetune.runs.run import Run
from rosetune.runs.values import RunError, guess

__all__ = ["MSGS_NAMES", "preferences", "probe_tasks", "write_probe"]

# Our name of a surface feature, and that of the Mixed Signals Generalization Set.
MSGS_NAMES: dict[Surface, str] = {"the": "lexical_content_the", "length": "length"}


def probe_tasks(folder: str | Path, names: Sequence[str], paradigms: int, msgs: str | None = None) -> str:
    """Write the data of probes; the tasks of a plan that they make, as JSON.

    A task is called ``<probe>-<part>``; see :data:`~rosetune.analysis.probing.scoring.PARTS`. The folder of the data
    is named after what is in it, so that a run that goes on finds the sentences that it knows.

    Args:
        folder: in which the folder of the data is made.
        names: of the surface features, "the" and "length".
        paradigms: of the generator, for each probe.
        msgs: folder of MSGS's own files, which are taken instead.

    Raises:
        RunError: an unknown name, or files that cannot be read.
    """
    for name in names:
        if name not in MSGS_NAMES:
            raise RunError(f"there is no probe {name!r}: {guess(name, MSGS_NAMES)}")
    surfaces = [surface for surface in MSGS_NAMES if surface in names]
    try:
        probes = {
            surface: generate_probe(surface, paradigms)
            if msgs is None
            else read_msgs(msgs, surface=MSGS_NAMES[surface])
            for surface in surfaces
        }
    except ValueError as error:
        raise RunError(str(error)) from error
    tasks = {}
    for name, probe in probes.items():
        place = Path(folder) / f"probe-{name}-{blake2b(repr(probe).encode(), digest_size=4).hexdigest()}"
        for part, (train, test) in write_probe(probe, place, name).items():
            tasks[f"{name}-{part}"] = {"task": str(train), "validation_file": str(test)}
    return json.dumps(tasks)


def write_probe(probe: Probe, folder: str | Path, name: str) -> dict[str, tuple[Path, Path]]:
    """For each part of a probe the CSV files to train and to test on, with ``sentence`` and ``label``."""
    return {part: _write(Path(folder), f"{name}-{part}", getattr(probe, part)) for part in PARTS}


def preferences(runs: Iterable[PlannedRun]) -> tuple[Probes, list[str]]:
    """What the finished runs of a plan say of each probe and method, by seed.

    Returns:
        Also sentences on what is not done; a seed counts once all three of its parts are.
    """
    runs = list(runs)
    models = {run.model for run in runs}
    parts: dict[tuple[str, str, int], dict[str, float]] = {}
    for run in runs:
        probe, _, part = run.task.rpartition("-")
        method = ", ".join([run.method, *([run.model] if len(models) > 1 else []), *_point(run)])
        known = parts.setdefault((probe, method, run.config.seed), {})
        if run.is_done():
            known[part] = _score(Run.open(str(run.folder())))
    found: dict[str, dict[str, dict[int, Preference]]] = {}
    left = []
    for (probe, method, seed), scores in parts.items():
        absent = [part for part in PARTS if part not in scores]
        if absent:
            left.append(f"{method}, seed {seed}, against {probe}: no run of the part {', '.join(absent)}")
        else:
            found.setdefault(probe, {}).setdefault(method, {})[seed] = Preference(*(scores[part] for part in PARTS))
    return found, left


def _point(run: PlannedRun) -> list[str]:
    return [f"{option.rpartition('.')[2]}={value}" for option, value in run.point.items()]


def _score(run: Run) -> float:
    rows = run.rows("clean")
    return matthews([int(row["gold"]) for row in rows], [int(row["prediction"]) for row in rows])


def _write(folder: Path, name: str, part: Part) -> tuple[Path, Path]:
    paths = folder / f"{name}.csv", folder / f"{name}-test.csv"
    for path, rows in zip(paths, part, strict=True):
        if not path.is_file():
            table: list[tuple[Any, ...]] = [("sentence", "label"), *rows]
            with replacing(path) as partial, open(partial, "w", encoding="utf-8", newline="") as file:
                csv.writer(file).writerows(table)
    return paths
