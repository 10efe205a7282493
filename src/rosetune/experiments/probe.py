"""Probes of methods: a run for each method, seed and part of the design, and their Matthews correlations."""

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rosetune._files import replacing
from rosetune.analysis.probing.items import Part, Probe
from rosetune.analysis.probing.scoring import Preference, matthews
from rosetune.experiments.train import train_run
from rosetune.runs.config import RunConfig
from rosetune.runs.run import Run

__all__ = ["PARTS", "preferences", "probe_configs", "run_probe"]

PARTS = ("ambiguous", "linguistic", "surface")


def run_probe(
    probe: Probe,
    name: str,
    folder: str | Path,
    methods: Mapping[str, Mapping[str, Any]],
    seeds: Sequence[int] = (1, 2, 3, 4, 5),
    report: Callable[[str], Any] = print,
    **options: Any,
) -> dict[str, list[Preference]]:
    """Train and test all runs of a probe; runs that are finished are read.

    Args:
        name: of the probe, such as "the" or "length".
        folder: for its data and its runs.
        methods: training arguments by name, such as ``{"vanilla": {}, "rose": {"update_mask": "rose"}}``.
        seeds: of the training.
        report: takes lines of text for the person who waits.
        options: of :class:`~rosetune.runs.config.RunConfig`, with ``training`` for what all methods share.

    Returns:
        For each method a :class:`~rosetune.analysis.probing.scoring.Preference` a seed.
    """
    configs = probe_configs(probe, name, folder, methods, seeds, **options)
    for config in configs.values():
        train_run(config, report)
    return preferences(configs)


def probe_configs(
    probe: Probe,
    name: str,
    folder: str | Path,
    methods: Mapping[str, Mapping[str, Any]],
    seeds: Sequence[int],
    **options: Any,
) -> dict[tuple[str, int, str], RunConfig]:
    """Write the data of a probe; the runs that it takes, by method, seed and part."""
    place, shared = Path(folder) / name, options.pop("training", {})
    files = {part: _write(place / "data", part, getattr(probe, part)) for part in PARTS}
    return {
        (method, seed, part): RunConfig(
            task=str(files[part][0]),
            validation_file=str(files[part][1]),
            **{"sets": ("clean",), **options},
            output_dir=str(place / part / method / f"seed-{seed}"),
            training={**shared, **training, "seed": seed},
        )
        for method, training in methods.items()
        for seed in seeds
        for part in PARTS
    }


def preferences(configs: Mapping[tuple[str, int, str], RunConfig]) -> dict[str, list[Preference]]:
    """What finished runs of :func:`probe_configs` say, by method, in the order of the seeds.

    Raises:
        RunError: a run is not finished.
    """
    found: dict[str, list[Preference]] = {}
    for method, seed, _ in (key for key in configs if key[2] == PARTS[0]):
        scores = [_score(str(configs[method, seed, part].output_dir)) for part in PARTS]
        found.setdefault(method, []).append(Preference(*scores))
    return found


def _score(folder: str) -> float:
    rows = Run.open(folder).rows("clean")
    return matthews([int(row["gold"]) for row in rows], [int(row["prediction"]) for row in rows])


def _write(folder: Path, name: str, part: Part) -> tuple[Path, Path]:
    paths = folder / f"{name}.csv", folder / f"{name}-test.csv"
    for path, rows in zip(paths, part, strict=True):
        if not path.is_file():  # a run that goes on finds the data that it knows
            with replacing(path) as partial, open(partial, "w", encoding="utf-8", newline="") as file:
                csv.writer(file).writerows(_table(rows))
    return paths


def _table(rows: Sequence[tuple[str, int]]) -> Iterator[tuple[Any, ...]]:
    yield "sentence", "label"
    yield from rows
