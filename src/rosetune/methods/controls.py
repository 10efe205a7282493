"""Update masks that know nothing of robustness: what ROSE must beat to claim that its choice matters."""

import os
import re
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import Parameter

from rosetune.mask_trace import MaskTrace
from rosetune.methods._options import number, one_of, same_options, whole
from rosetune.methods._targets import (
    BODY_PARAMETERS,
    LAYER_WEIGHTS,
    NORM_PARAMETERS,
    check_pattern,
    closest_draw,
    seeded_permutation,
    select_targets,
)


class _Control:
    """Observes nothing, counts its steps."""

    freezes_update = True
    needs: frozenset[str] = frozenset()

    def __init__(self, target_parameters: str, **options: Any) -> None:
        self.target_parameters = check_pattern(target_parameters)
        self._options = {"target_parameters": target_parameters, **options}
        self._step = 0

    def observe(
        self,
        optimizer: torch.optim.Optimizer,
        *,
        consistency: Tensor | None = None,
        task_loss: Tensor | None = None,
    ) -> None:
        """Nothing to see."""

    def state_dict(self) -> dict[str, Any]:
        """Options and step count."""
        return {"options": dict(self._options), "step": self._step}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the step count.

        Raises:
            ValueError: the state was saved under other options.
        """
        same_options(type(self).__name__, self._options, state["options"])
        self._step = int(state["step"])


class RandomMask(_Control):
    """A fresh random set of tensors each step.

    Args:
        upper: share that is kept, in [0, 1].
        match: what the share is a share of: "tensors" keeps floor(upper n + 1e-9) of them, "scalars" keeps tensors
            in random order whenever that brings the number of scalars nearer to its share.
        seed: the draw depends on (seed, step) alone, never on the global random state.
        target_parameters: regular expression of the tensors that may be frozen.

    Raises:
        ValueError: an option outside its values.
    """

    def __init__(
        self,
        upper: float = 0.6,
        match: Literal["tensors", "scalars"] = "tensors",
        seed: int = 0,
        target_parameters: str = LAYER_WEIGHTS,
    ) -> None:
        self.upper, self.match, self.seed = number("upper", upper, most=1.0), _match(match), whole("seed", seed)
        super().__init__(target_parameters, upper=self.upper, match=match, seed=self.seed)

    def __call__(self, optimizer: torch.optim.Optimizer) -> dict[Parameter, float | Tensor]:
        """This step's draw."""
        targets = select_targets(optimizer, self.target_parameters)
        order = seeded_permutation(len(targets), self.seed, self._step)
        kept = set(closest_draw(order, [p.numel() for _, p in targets], self.upper, self.match))
        self._step += 1
        return {parameter: float(i in kept) for i, (_, parameter) in enumerate(targets)}


class StaticMask(_Control):
    """A fixed set of tensors, updated in every step, while the other targets stay as they were pre-trained.

    The set is one of: all targets but those that match ``frozen``; a random draw of ``upper`` of them; the tensors
    that a saved trace of ROSE kept most often, as many as ``upper`` says or as the trace kept in the mean.

    Args:
        frozen: regular expression of the targets to freeze; ``"."`` freezes all.
        upper: share that is kept, in [0, 1].
        trace: path of a ``mask_trace.npz``, or of the run that holds it (``update_mask_kwargs`` ``trace=true`` of
            ``rose`` writes one).
        match: what the share is a share of, "tensors" or "scalars" (see :class:`RandomMask`).
        seed: of the random draw.
        target_parameters: regular expression of the tensors that may be frozen.

    Raises:
        ValueError: not exactly one of the three ways is given; a pattern that matches nothing; a trace of another
            model.
    """

    def __init__(
        self,
        frozen: str | None = None,
        upper: float | None = None,
        trace: str | os.PathLike[str] | None = None,
        match: Literal["tensors", "scalars"] = "tensors",
        seed: int = 0,
        target_parameters: str = LAYER_WEIGHTS,
    ) -> None:
        if (frozen is None) == (upper is None and trace is None):
            raise ValueError(
                "StaticMask takes either frozen=PATTERN, or upper=SHARE, or trace=PATH (with or without upper)"
            )
        self.frozen = None if frozen is None else check_pattern(frozen, "frozen")
        self.upper = None if upper is None else number("upper", upper, most=1.0)
        if trace is not None and not isinstance(trace, str | os.PathLike):
            raise ValueError(f"trace must be the path of a mask_trace.npz or of its run, not {trace!r}")
        self._source = None if trace is None else MaskTrace.load(trace)
        self.match, self.seed = _match(match), whole("seed", seed)
        super().__init__(target_parameters, frozen=frozen, upper=self.upper, match=match, seed=self.seed)

    def __call__(self, optimizer: torch.optim.Optimizer) -> dict[Parameter, float | Tensor]:
        """The same set each step."""
        targets = select_targets(optimizer, self.target_parameters)
        names = [name for name, _ in targets]
        sizes = [parameter.numel() for _, parameter in targets]
        if self.frozen is not None:
            kept = self._not_frozen(names)
        elif self._source is not None:
            kept = self._most_often_kept(self._source, names, sizes)
        else:
            order = seeded_permutation(len(targets), self.seed)
            kept = set(closest_draw(order, sizes, self.upper or 0.0, self.match))
        self._step += 1
        return {parameter: float(i in kept) for i, (_, parameter) in enumerate(targets)}

    def _not_frozen(self, names: list[str]) -> set[int]:
        kept = {i for i, name in enumerate(names) if not re.search(self.frozen or "", name)}
        if len(kept) == len(names):
            raise ValueError(
                f"frozen={self.frozen!r} matches none of the {len(names)} target tensors, e.g. {names[0]}"
            )
        return kept

    def _most_often_kept(self, trace: MaskTrace, names: list[str], sizes: list[int]) -> set[int]:
        if list(trace.names) != names or trace.sizes.tolist() != sizes:
            raise ValueError(
                f"the trace holds {len(trace.names)} tensors (first: {trace.names[0]}), which are not the "
                f"{len(names)} targets of this model (first: {names[0]}): "
                "give a trace of the same model and target_parameters"
            )
        share_kept = trace.share_kept()
        upper = self.upper
        if upper is None:
            weights = np.array(sizes) if self.match == "scalars" else np.ones(len(sizes))
            upper = float((share_kept * weights).sum() / weights.sum())
        order = np.argsort(-share_kept, kind="stable").tolist()
        return set(closest_draw(order, sizes, upper, self.match))


class UniformMask(_Control):
    """Every target at one multiplier: what ROSE's mean multiplier does without any choice of tensors.

    By Algorithm 1 the multiplier scales the step and mixes the momentum into the gradient. The first step is that of
    AdamW at a learning rate of lr M; later the smoother gradient also shrinks v, so that on noisy gradients the
    tensors move nearly as far as under AdamW itself. For a plainly lower learning rate use parameter groups.

    Args:
        multiplier: in [0, 1].
        target_parameters: regular expression of the targets.

    Raises:
        ValueError: the multiplier lies outside [0, 1].
    """

    def __init__(self, multiplier: float = 0.6, target_parameters: str = LAYER_WEIGHTS) -> None:
        self.multiplier = number("multiplier", multiplier, most=1.0)
        super().__init__(target_parameters, multiplier=self.multiplier)

    def __call__(self, optimizer: torch.optim.Optimizer) -> dict[Parameter, float | Tensor]:
        """The same multiplier for every target."""
        self._step += 1
        return {parameter: self.multiplier for _, parameter in select_targets(optimizer, self.target_parameters)}


class LayerNormOnly(_Control):
    """Of the pre-trained body only the gains and biases of its normalisations are updated, with pooler and head.

    M = 1 for the normalisations, M = 0 for every other tensor of the layers and embeddings; what lies outside both is
    updated in full. The fixed set to compare a mask with that chooses: well below 1 % of a Transformer's body.

    So few parameters are said to need a learning rate about ten times larger than full fine-tuning (unverified). As a
    control it lives in the optimizer, like the masks it is compared with: every gradient is still computed, and both
    moments are held. Where only the outcome matters, ``requires_grad_(False)`` on the rest is cheaper.

    Args:
        norm_parameters: regular expression of the normalisations' parameters.
        target_parameters: regular expression of the tensors that may be frozen; default: all of the layers and
            embeddings.

    Raises:
        ValueError: no normalisation is trained, as under LoRA.
    """

    def __init__(self, norm_parameters: str = NORM_PARAMETERS, target_parameters: str = BODY_PARAMETERS) -> None:
        super().__init__(target_parameters, norm_parameters=norm_parameters)
        self.norm_parameters = check_pattern(norm_parameters, "norm_parameters")

    def __call__(self, optimizer: torch.optim.Optimizer) -> dict[Parameter, float | Tensor]:
        """The same set each step."""
        targets = select_targets(optimizer, self.target_parameters)
        norms = {p for name, p in select_targets(optimizer, ".") if re.search(self.norm_parameters, name)}
        if not norms:
            raise ValueError(
                f"norm_parameters={self.norm_parameters!r} matches none of the trainable tensors, e.g. "
                f"{targets[0][0]}: give the pattern of this model's normalisations, and leave them trainable"
            )
        self._step += 1
        return {p: float(p in norms) for _, p in targets}


def _match(value: Literal["tensors", "scalars"]) -> Literal["tensors", "scalars"]:
    return one_of("match", value, ("tensors", "scalars"))
