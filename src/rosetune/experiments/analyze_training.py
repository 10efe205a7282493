"""Analyses of what a training did: which tensors its mask kept, and how far it has moved them."""

import json
from collections.abc import Mapping, Sequence

import numpy as np

from rosetune.analysis.drift import drift
from rosetune.analysis.masks import agreement_by_lag, chance_agreement, over_time
from rosetune.analysis.risks import measure_risks
from rosetune.experiments.analysis_options import AnalysisOptions
from rosetune.experiments.lock import locked
from rosetune.experiments.models import load_pretrained, load_trained, quiet_libraries
from rosetune.experiments.subjects import Material, Subject, place
from rosetune.mask_trace import MaskTrace
from rosetune.runs.analysed import Analysis
from rosetune.runs.values import RunError, as_mapping

__all__ = ["drifts", "masks"]

TRAINING_BATCH = 32  # rows that a mask looks at, as in most of the paper
Moved = Mapping[str, str | None]


def masks(subjects: Sequence[Subject], options: AnalysisOptions, moved: Moved | None = None) -> list[Analysis]:
    """What ROSE's masks are made of: in the trace of a run, and drawn anew on the weights of its model.

    Returns:
        The arrays of :class:`~rosetune.analysis.risks.Risks`, and of a run with a mask trace ``trace_steps``,
        ``trace_lengths`` and ``trace_kept`` (see :func:`~rosetune.analysis.masks.over_time`), ``trace_names``,
        ``trace_sizes``, ``lags``, ``lag_agreement`` and ``lag_chance``. ``about`` has the run's own ``upper`` and
        ``upper_second``, the shares that a mask of each order keeps. Risks are those of its own ``target_parameters``.
        Runs of different tasks are looked at on the rows of their own.
    """
    materials: dict[str, Material] = {}
    found = []
    for subject in subjects:
        task = json.dumps([subject.run.identity.get(name) for name in ("data_fingerprint", "text_columns")])
        material = materials.setdefault(task, Material([subject], options, moved))
        found.append(_masks(subject, material, options))
    return found


def _masks(subject: Subject, material: Material, options: AnalysisOptions) -> Analysis:
    rows = options.batch_size or TRAINING_BATCH
    training = subject.run.config.training
    kwargs = as_mapping("update_mask_kwargs", training.get("update_mask_kwargs")) or {}
    # A run that names no tensors has the file that it had before they were looked at.
    own = {name: kwargs[name] for name in ("target_parameters",) if name in kwargs}
    path, about = place("masks", subject, {**material.settings, "batch_size": rows, **own})
    if path.is_file():
        return Analysis.read(path)
    upper = kwargs.get("upper", None if training.get("update_mask") == "static" else 0.6)
    pair = upper if isinstance(upper, list | tuple) and upper else [upper]
    about |= {"upper": pair[0], "upper_second": pair[-1]}
    with locked(subject.run.folder):
        model, batches = material.training_batches(subject, rows)
        risks = measure_risks(model, batches, options.seed, **own)
        arrays = {**vars(risks), "names": np.array(risks.names)}
        if subject.step is None and subject.run.trace_file is not None:
            arrays |= _traced(MaskTrace.load(subject.run.trace_file))
        found = Analysis(path, about, arrays)
        found.write()
    return found


def _traced(trace: MaskTrace) -> dict[str, np.ndarray]:
    steps, lengths, kept = over_time(trace)
    longest = len(trace.multipliers) - 1
    lags = np.unique(np.geomspace(1, longest, 12).round().astype(int)) if longest >= 1 else np.array([], int)
    return {
        "trace_names": np.array(trace.names),
        "trace_sizes": trace.sizes,
        "trace_steps": steps,
        "trace_lengths": lengths,
        "trace_kept": kept,
        "lags": lags,
        "lag_agreement": agreement_by_lag(trace, lags.tolist()),
        "lag_chance": np.array(chance_agreement(trace.multipliers)),
    }


def drifts(subjects: Sequence[Subject]) -> list[Analysis]:
    """For each model the arrays ``names``, ``distance`` and ``norm`` of :class:`~rosetune.analysis.drift.Drift`.

    Raises:
        RunError: a model that was trained elsewhere.
    """
    return [_drift(subject) for subject in subjects]


def _drift(subject: Subject) -> Analysis:
    path, about = place("drift", subject, {})
    if path.is_file():
        return Analysis.read(path)
    config = subject.run.config
    if config.given:
        raise RunError(f"{subject.run} was trained elsewhere: nobody knows here where its weights began")
    with locked(subject.run.folder):
        quiet_libraries()
        model = load_trained(subject.model)[0]
        before, fresh = load_pretrained(config.model_name_or_path, model.config.num_labels)
        seen = drift(model, before, fresh)
        arrays = {"names": np.array(seen.names), "distance": seen.distance, "norm": seen.norm}
        found = Analysis(path, {**about, "absent": list(seen.absent)}, arrays)
        found.write()
    return found
