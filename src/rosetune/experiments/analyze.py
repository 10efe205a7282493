"""Analyses of finished runs: models and rows are loaded, arrays are kept in ``analysis/`` of the run's folder."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rosetune._progress import progress
from rosetune.analysis.directions import random_direction
from rosetune.analysis.disagreement import dropout_disagreement
from rosetune.analysis.hessian import Hessian
from rosetune.analysis.interpolation import interpolate, interpolation_axis
from rosetune.analysis.landscape import landscape_rows
from rosetune.analysis.surface import grid_axis
from rosetune.experiments.analysis_options import AnalysisOptions
from rosetune.experiments.analyze_training import drifts, masks
from rosetune.experiments.lock import locked
from rosetune.experiments.models import load_trained
from rosetune.experiments.subjects import (
    Material,
    Subject,
    clean_accuracy,
    equal_accuracy,
    identity_of,
    kept_steps,
    last_step,
    open_subjects,
    place,
    read_kept,
)
from rosetune.runs.analysed import Analysis, analysed_steps
from rosetune.runs.run import RunError

__all__ = ["analyse", "disagreements", "hessians", "interpolation", "landscapes"]

Moved = Mapping[str, str | None]


def analyse(what: str, words: Sequence[str], options: AnalysisOptions, moved: Moved | None = None) -> list[Analysis]:
    """One kind of analysis of some models; see the functions below.

    Args:
        what: "landscape", "interpolation", "hessian", "disagreement", "masks" or "drift".
        words: RUN or RUN@STEP.

    Raises:
        RunError: a run that is not finished, or cannot be compared.
        DataError: data cannot be read.
    """
    options.check_for(what)
    subjects = open_subjects(words)
    if options.equal_accuracy:
        subjects = equal_accuracy(subjects)
    if what == "interpolation":
        return [interpolation(subjects[0], subjects[1], options, moved)]
    if what == "drift":
        return drifts(subjects)
    each = {"landscape": landscapes, "hessian": hessians, "disagreement": disagreements, "masks": masks}
    return each[what](subjects, options, moved)


def landscapes(subjects: Sequence[Subject], options: AnalysisOptions, moved: Moved | None = None) -> list[Analysis]:
    """The loss around each model on a grid, with the same directions and rows for all of them.

    A grid is kept row by row: a killed one goes on, and ends as if it had not been killed. A finished one is read.

    Returns:
        For each subject the arrays ``alpha``, ``beta``, ``loss`` and ``accuracy`` of
        :class:`~rosetune.analysis.surface.Surface`.
    """
    material = Material(subjects, options, moved)
    return [_landscape(subject, material, options) for subject in subjects]


def _landscape(subject: Subject, material: Material, options: AnalysisOptions) -> Analysis:
    grid = {"points": options.points, "span": options.span, "normalise": options.normalise}
    seed = options.seed if options.direction_seed is None else options.direction_seed
    # A grid whose directions are those of the rows' seed has the file that it had before they could differ.
    apart = {} if seed == options.seed else {"direction_seed": seed}
    path, about = place("landscape", subject, {**material.settings, **grid, **apart})
    about["clean_accuracy"] = clean_accuracy(subject)
    axis = grid_axis(options.span, options.points)
    empty = np.full((len(axis), len(axis)), np.nan)
    arrays = {"alpha": axis, "beta": axis, "loss": empty, "accuracy": empty.copy()}
    found = read_kept(path, about) if path.is_file() else Analysis(path, about, arrays)
    loss, accuracy = found.arrays["loss"], found.arrays["accuracy"]
    todo = [row for row in range(len(axis)) if np.isnan(loss[row]).any()]
    if todo:
        with locked(subject.run.folder), progress(f"landscape of {subject}") as bar:
            of = material.loss(subject)
            delta, eta = (random_direction(of, own, options.normalise) for own in (2 * seed, 2 * seed + 1))
            for row, losses, accuracies in landscape_rows(of, (delta, eta), axis, axis, todo):
                # A diverged point must not look as if it were still to do.
                loss[row], accuracy[row] = np.nan_to_num(losses, nan=np.inf, posinf=np.inf), accuracies
                found.write()
                bar(len(axis) * (row + 1), len(axis) ** 2)
    return found


def hessians(subjects: Sequence[Subject], options: AnalysisOptions, moved: Moved | None = None) -> list[Analysis]:
    """For each model the arrays ``top`` (the largest eigenvalue), ``trace``, ``trace_error`` and ``trace_samples``."""
    material = Material(subjects, options, moved)
    return [_hessian(subject, material, options) for subject in subjects]


def _hessian(subject: Subject, material: Material, options: AnalysisOptions) -> Analysis:
    settings = {**material.settings, "samples": options.samples, "tolerance": options.tolerance}
    path, about = place("hessian", subject, settings)
    about["clean_accuracy"] = clean_accuracy(subject)
    if path.is_file():
        return read_kept(path, about)
    with locked(subject.run.folder), progress(f"Hessian of {subject}") as bar:
        # How many products the eigenvalue takes is not known before.
        of = material.loss(subject, eager=True)
        loss = of.measure().loss
        if not np.isfinite(loss):
            raise RunError(f"the loss of {subject} on these rows is {loss}, which has no Hessian: give another model")
        hessian = Hessian(of, lambda done: bar(done, done + options.samples))
        top = hessian.top_eigenvalue(options.seed, options.tolerance)
        trace = hessian.trace(options.samples, options.seed)
        arrays = {"top": top, "trace": trace.value, "trace_error": trace.standard_error, "loss": loss}
        shaped = {**{name: np.array(value) for name, value in arrays.items()}, "trace_samples": trace.samples}
        found = Analysis(path, {**about, "weights": hessian.size}, shaped)
        found.write()
    return found


def interpolation(first: Subject, second: Subject, options: AnalysisOptions, moved: Moved | None = None) -> Analysis:
    """The line from the first model (0) to the second (1), kept with the first: ``alpha``, ``loss``, ``accuracy``."""
    material = Material([first, second], options, moved)
    other = {"other": identity_of(second), "other_step": second.step}
    path, about = place("interpolation", first, {**material.settings, "points": options.points, **other})
    about |= {"other_name": str(second), "other_method": second.run.method, "other_seed": second.run.seed}
    if path.is_file():
        return read_kept(path, about)
    with locked(first.run.folder), progress(f"from {first} to {second}") as bar:
        of, alpha = material.loss(first), interpolation_axis(options.points)
        there = load_trained(second.model)[0]
        measured = []
        for point in interpolate(of, there, alpha):
            measured.append(point)
            bar(len(measured), len(alpha))
        losses, accuracies = (np.array(column) for column in zip(*measured, strict=True))
        found = Analysis(path, about, {"alpha": alpha, "loss": losses, "accuracy": accuracies})
        found.write()
    return found


def disagreements(subjects: Sequence[Subject], options: AnalysisOptions, moved: Moved | None = None) -> list[Analysis]:
    """For each run its checkpoints, kept or analysed before, and its end, by step; for RUN@STEP that step.

    Of the steps that are asked for, those after the end of a run are passed over: tasks are trained for longer or
    shorter. The step of the end needs no checkpoint.

    Returns:
        Arrays ``share``, ``standard_error`` and ``rows``; ``about["at"]`` is the step.

    Raises:
        RunError: a step whose checkpoint is not kept, only steps after a run's end, or a regression.
    """
    material = Material(subjects, options, moved)
    if not subjects[0].run.labels:
        raise RunError(f"{subjects[0].run} is a regression: it predicts no labels that could differ")
    found: list[Analysis] = []
    for subject in subjects:
        end = last_step(subject.run)
        asked = [step for step in options.steps if end is None or step <= end]
        if options.steps and not asked:
            raise RunError(f"{subject.run} ends at step {end}: give --steps up to that")
        once = [
            step
            for step in analysed_steps(subject.run.folder, "disagreement")
            if _place_disagreement(Subject(subject.run, step), material, options)[0].is_file()
        ]
        steps: list[int | None] = [*(asked or sorted({*kept_steps(subject.run), *once}))]
        wanted = steps if asked or end in steps else [*steps, None]
        if subject.step is not None:
            wanted = [subject.step]
        known = {*kept_steps(subject.run), *once}
        # Where the end has no checkpoint of its own, it is the model that the run reports.
        each = [Subject(subject.run, None if step == end and step not in known else step) for step in wanted]
        # A step that is not kept is said before anything is computed.
        _ = [one.model for one in each if not _place_disagreement(one, material, options)[0].is_file()]
        found += [_disagreement(one, material, options, end) for one in each]
    return found


def _place_disagreement(subject: Subject, material: Material, options: AnalysisOptions) -> tuple[Path, dict[str, Any]]:
    return place("disagreement", subject, {**material.settings, "pairs": options.pairs})


def _disagreement(subject: Subject, material: Material, options: AnalysisOptions, end: int | None) -> Analysis:
    path, about = _place_disagreement(subject, material, options)
    if path.is_file():
        return Analysis.read(path)
    with locked(subject.run.folder):
        model, batches = material.model_and_batches(subject)
        seen = dropout_disagreement(model, batches, options.pairs, options.seed)
        about["at"] = end if subject.step is None else subject.step
        arrays = {"share": np.array(seen.share), "standard_error": np.array(seen.standard_error), "rows": seen.rows}
        found = Analysis(path, about, arrays)
        found.write()
    return found
