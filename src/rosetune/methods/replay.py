"""A trace of multipliers, replayed: ROSE's choices without what they were chosen by."""

import hashlib
import os
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

from rosetune.mask_trace import MaskTrace
from rosetune.methods._targets import LAYER_WEIGHTS, select_targets
from rosetune.methods.controls import _Control


class ReplayedMask(_Control):
    """The multipliers of another run, step by step: step t applies row t of its trace, whatever this run sees.

    Replayed from another seed, the schedule was chosen for other batches, another dropout and other weights: which
    tensors are updated how often and when is ROSE's, that the choice answers to the step at hand is not. A gain that
    stays is one of the schedule.

    Args:
        trace: path of a ``mask_trace.npz``, or of the run that holds it (``update_mask_kwargs`` ``trace=true`` of
            ``rose`` writes one).
        target_parameters: regular expression of the tensors that may be frozen; the trace's own.

    Raises:
        ValueError: no trace; later: a trace of another model or of other targets, a run of more steps than it holds
            (to repeat or stretch a schedule would be another one), the state of a run with another trace.
    """

    def __init__(self, trace: str | os.PathLike[str], target_parameters: str = LAYER_WEIGHTS) -> None:
        if not isinstance(trace, str | os.PathLike):
            raise ValueError(f"trace must be the path of a mask_trace.npz or of its run, not {trace!r}")
        self._source = MaskTrace.load(trace)
        digest = hashlib.sha256(self._source.multipliers.tobytes()).hexdigest()
        super().__init__(target_parameters, trace=f"sha256:{digest}")

    def __call__(self, optimizer: torch.optim.Optimizer) -> dict[Parameter, float | Tensor]:
        """This step's row."""
        trace = self._source
        targets = select_targets(optimizer, self.target_parameters)
        recorded = dict(zip(trace.names, trace.sizes.tolist(), strict=True))
        if recorded != {name: parameter.numel() for name, parameter in targets}:
            raise ValueError(
                f"the trace holds {len(recorded)} tensors (first: {trace.names[0]}), which are not the "
                f"{len(targets)} targets of this model (first: {targets[0][0]}): "
                "give a trace of the same model and target_parameters"
            )
        if self._step >= len(trace.multipliers):
            raise ValueError(
                f"the trace holds {len(trace.multipliers)} steps, but this run goes on to step {self._step + 1}: "
                "replay a trace of a run that is at least as long, with the same data size, batch size and epochs"
            )
        row: dict[str, Any] = dict(zip(trace.names, trace.multipliers[self._step].tolist(), strict=True))
        self._step += 1
        return {parameter: row[name] for name, parameter in targets}
