"""Options chosen on held-out training rows: a search is a loop over runs, whose record is an Optuna study."""

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rosetune.experiments.data import load_data
from rosetune.experiments.folder import claim_study, written
from rosetune.experiments.lock import locked
from rosetune.experiments.models import quiet_libraries
from rosetune.experiments.search_options import HALVING, SearchOptions, require_optuna
from rosetune.experiments.search_space import Dimension, check_names, grid_points, rounded, with_options
from rosetune.experiments.study import open_study
from rosetune.experiments.training import training_arguments, training_defaults
from rosetune.experiments.trials import Trials
from rosetune.runs.config import RunConfig
from rosetune.runs.identity import folder_name, identity_hash
from rosetune.runs.values import RunError

__all__ = ["HELD_OUT", "run_search"]

HELD_OUT, _MOST = 0.2, 1000  # of the training texts; rows
Report = Callable[[str], Any]


def run_search(
    config: RunConfig,
    space: Mapping[str, Dimension],
    options: SearchOptions,
    seeds: Sequence[int] = (),
    report: Report = print,
) -> dict[str, Any]:
    """Search for the options of a run; go on where a search was killed, and do nothing where it is done.

    A trial is a run for each seed, in ``trials/<number>/`` of the search's folder; it is judged by
    :func:`~rosetune.experiments.trial_score.trial_score`, averaged over the seeds. It is trained on some of the
    training rows and evaluated on the others (``held_out``): the evaluation data is not among the data of a trial, and
    AdvGLUE is refused. Every trial has the same budget, that of ``config``, and the same split.

    With ``rungs`` R a trial trains for max_steps / 3^(R-1) steps, and so on up to max_steps. It goes on from a rung
    if its value is among the best max(1, floor(n / 3)) of the n trials that have come to that rung so far, itself
    included (asynchronous successive halving; Li et al. 2020, without later promotions: an early trial goes on more
    easily than a late one). Each rung is a run of its own from the pre-trained model, whose learning rate decays
    within that run: a long run is not the continuation of a short one, and what is best after few steps need not be
    best after many. A trial of all rungs costs up to 1.5 times the longest run.

    Files: ``search.json`` (what is searched), ``journal.log`` (Optuna's record), ``trials.json``, ``best.yaml``
    (for ``rosetune train --config``, on all training rows) and ``trials/``. The weights of a trial are deleted.

    Args:
        config: the run whose options are searched for; ``held_out`` is a fifth of the training texts, at most 1,000
            rows, if it is not given, and ``output_dir`` the folder of the search.
        space: what is tried, by option.
        seeds: of the training; none: that of ``config``.
        report: takes a line of text for the person who waits.

    Returns:
        What ``trials.json`` holds: "best", "trials", "importance".

    Raises:
        RunError: Optuna is missing; an option of the space is unknown or has a value that the method refuses; the
            folder holds another search; every trial failed.
        FolderError: the disk is full, or another process is at work in a folder; no trial is lost.
        DataError: the data cannot be read.
    """
    quiet_libraries()
    config = _judged_on_training_rows(config, options)
    data = load_data(config)
    if not data.labels:
        raise RunError(f"a search needs labels, whose accuracy it compares: {config.task} is a regression")
    check_names(space, config)
    lengths = _lengths(config, options.rungs)
    _check_values(space, config)
    points = grid_points(space) if options.sampler == "grid" else None
    require_optuna()
    chosen = tuple(seeds) or (config.seed,)
    identity = {
        "base": config.identity(
            task=data.name,
            text_columns=data.text_columns,
            fingerprint=data.fingerprint,
            defaults=training_defaults(),
        ),
        "space": {name: dataclasses.asdict(dimension) for name, dimension in space.items()},
        **{"objective_mix": options.objective_mix, "sampler": options.sampler, "search_seed": options.search_seed},
        **{"rungs": options.rungs, "seeds": list(chosen)},
    }
    identity = json.loads(json.dumps(identity))
    folder = _folder(config, identity)
    with written(folder), locked(folder / "workers" / options.worker):
        study = open_study(folder, identity, options, points)
        return Trials(study, config, space, options, chosen, lengths, folder, report).run(points)


def _judged_on_training_rows(config: RunConfig, options: SearchOptions) -> RunConfig:
    given = dataclasses.replace(config, sets=tuple(options.objective_mix), held_out=config.held_out or HELD_OUT)
    if config.held_out is None and len(load_data(given).splits["validation"]) > _MOST:
        return dataclasses.replace(given, held_out=_MOST)
    return given


def _lengths(config: RunConfig, rungs: int) -> list[int | None]:
    """Steps of each rung; None: as long as the configuration says."""
    if rungs == 1:
        return [None]
    steps = int(config.training.get("max_steps") or 0)
    if steps < HALVING ** (rungs - 1):
        raise RunError(
            f"--rungs {rungs} shortens trials to a {HALVING ** (rungs - 1)}th of --max_steps: give it, at least that"
        )
    return [round(steps / HALVING ** (rungs - 1 - rung)) for rung in range(rungs)]


def _check_values(space: Mapping[str, Dimension], config: RunConfig) -> None:
    """Whether the method and the Trainer take every choice, and both ends of every range."""
    training_arguments(config)
    for name, dimension in space.items():
        for value in dimension.ends():
            try:
                training_arguments(with_options(config, {name: value}))
            except ValueError as error:
                raise RunError(f"--space {name}: {rounded(value)!r} is no value for it: {error}") from error


def _folder(config: RunConfig, identity: Mapping[str, Any]) -> Path:
    """Where a search lies; claimed, if it is new.

    Raises:
        RunError: another search lies there, or something else.
    """
    place = Path("runs") / folder_name(identity["base"]["task"]) / "search"
    folder = Path(config.output_dir or place / f"{config.method()}-{identity_hash(identity)}").expanduser()
    claim_study(folder, "search.json", identity, "search")
    return folder
