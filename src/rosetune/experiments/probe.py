"""Probes of methods: their sentences as files that runs are trained and tested on, and what the runs say."""

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

from rosetune._files import replacing
from rosetune.analysis.probing.generator import Surface, generate_probe
from rosetune.analysis.probing.items import Probe
from rosetune.analysis.probing.msgs import read_msgs
from rosetune.analysis.probing.scoring import PARTS, Preference, Probes, matthews
from rosetune.experiments.planned import PlannedRun
from rosetune.runs.measures import read_features
from rosetune.runs.run import Run
from rosetune.runs.values import RunError, guess

__all__ = ["MSGS_NAMES", "preferences", "probe_tasks", "write_probe"]

# The column of the ambiguous test that tells in which rows both features say the same.
FEATURES, AGREE, DIFFER = "features", "agree", "differ"
_PLAIN: tuple[str, ...] = ("sentence", "label")
# Our name of a surface feature, and that of the Mixed Signals Generalization Set.
MSGS_NAMES: dict[Surface, str] = {"the": "lexical_content_the", "length": "length"}


def probe_tasks(folder: str | Path, names: Sequence[str], paradigms: int, msgs: str | None = None) -> str:
    """Write the data of probes; the tasks of a plan that they make, as JSON.

    A task is called ``<probe>-<part>``; see :data:`~rosetune.analysis.probing.scoring.PARTS`. A part that several
    probes share is one task, called ``<part>``: MSGS has one linguistic control. The folder of the data is named after
    what is in it, so that a run that goes on finds the sentences that it knows.

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
    tasks: dict[str, dict[str, str]] = {}
    shared = _shared_parts([*probes.values()])
    for name, probe in probes.items():
        place = Path(folder) / f"probe-{name}-{blake2b(repr(probe).encode(), digest_size=4).hexdigest()}"
        for part, (train, test) in write_probe(probe, place, name).items():
            task = {"task": str(train), "validation_file": str(test)}
            grouped = {"group_column": FEATURES} if part == PARTS[0] else {}
            tasks.setdefault(part if part in shared else f"{name}-{part}", {**task, **grouped})
    return json.dumps(tasks)


def _shared_parts(probes: Sequence[Probe]) -> list[str]:
    """The parts that are the same in all of several probes."""
    return [part for part in PARTS if len(probes) > 1 and len({getattr(probe, part) for probe in probes}) == 1]


def write_probe(probe: Probe, folder: str | Path, name: str) -> dict[str, tuple[Path, Path]]:
    """For each part of a probe the CSV files to train and to test on, with ``sentence`` and ``label``.

    The test of the ambiguous part also holds the agreeing rows; its third column, ``features``, tells them apart.
    """
    files = {}
    for part in PARTS:
        train, test = getattr(probe, part)
        header, rows = _PLAIN, list[tuple[Any, ...]](test)
        if part == PARTS[0]:
            header = (*_PLAIN, FEATURES)
            rows = [(*row, DIFFER) for row in test] + [(*row, AGREE) for row in probe.agreeing]
        paths = Path(folder, f"{name}-{part}.csv"), Path(folder, f"{name}-{part}-test.csv")
        _write(paths[0], _PLAIN, train)
        _write(paths[1], header, rows)
        files[part] = paths
    return files


def preferences(runs: Iterable[PlannedRun]) -> tuple[Probes, list[str]]:
    """What the finished runs of a plan say of each probe and method, by seed.

    Returns:
        Also sentences on what is not done; a seed counts once all three of its parts are.

    Raises:
        RunError: a run's files are damaged, or its ambiguous test does not tell in which rows the features agree.
    """
    runs = list(runs)
    models = {run.model for run in runs}
    probes = dict.fromkeys(probe for run in runs if (probe := run.task.rpartition("-")[0]))
    parts: dict[tuple[str, str, int], dict[str, float]] = {}
    for run in runs:
        probe, _, part = run.task.rpartition("-")
        method = ", ".join([run.method, *([run.model] if len(models) > 1 else []), *_point(run)])
        scores = _scores(Run.open(str(run.folder())), part) if run.is_done() else {}
        for name in [probe] if probe else probes:
            parts.setdefault((name, method, run.config.seed), {}).update(scores)
    found: dict[str, dict[str, dict[int, Preference]]] = {}
    left = []
    for (probe, method, seed), scores in parts.items():
        absent = [part for part in PARTS if part not in scores]
        if absent:
            left.append(f"{method}, seed {seed}, against {probe}: no run of the part {', '.join(absent)}")
        else:
            seen = Preference(*(scores[part] for part in (*PARTS, AGREE)))
            found.setdefault(probe, {}).setdefault(method, {})[seed] = seen
    return found, left


def _point(run: PlannedRun) -> list[str]:
    return [f"{option.rpartition('.')[2]}={value}" for option, value in run.point.items()]


def _scores(run: Run, part: str) -> dict[str, float]:
    """By part the Matthews correlation; of the ambiguous one also that of the rows in which the features agree."""
    rows = run.rows("clean")
    if part != PARTS[0]:
        return {part: _matthews(rows)}
    groups = read_features(run.folder / "predictions").get("clean", {}).get("groups", {}).get(FEATURES, {})
    each = {name: [row for row in rows if groups.get(row["id"]) == name] for name in (DIFFER, AGREE)}
    if not all(each.values()):
        raise RunError(
            f"{run} does not tell in which test rows both features agree: give its validation_file a column "
            f"{FEATURES} with {AGREE} or {DIFFER}, and its task group_column: {FEATURES}"
        )
    return {part: _matthews(each[DIFFER]), AGREE: _matthews(each[AGREE])}


def _matthews(rows: Sequence[Mapping[str, Any]]) -> float:
    return matthews([int(row["gold"]) for row in rows], [int(row["prediction"]) for row in rows])


def _write(path: Path, header: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> None:
    if not path.is_file():
        with replacing(path) as partial, open(partial, "w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([header, *rows])
