"""The two axes: what an objective returns, what an update mask is asked."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.nn import Parameter

from rosetune.mask_trace import MaskTrace


@dataclass
class ObjectiveOutput:
    """What an objective returns for one micro-batch.

    Attributes:
        loss: scalar, mean over the micro-batch: the whole objective, with the graph that is still to be
            back-propagated.
        task_loss: scalar, its cross-entropy (or regression) part; the same object as ``loss`` where that is all.
        outputs: the model's outputs for the clean pass.
        consistency: symmetric KL of two dropout passes of the clean input, or None where it was not asked for.
        terms: each component, detached, by the name under which it is logged.
        consistency_weight: a number w where the loss is exactly task_loss + w consistency (R-Drop), so that a mask
            can tell the gradient of one from those of the others; else None.
    """

    loss: Tensor
    task_loss: Tensor
    outputs: Any
    consistency: Tensor | None = None
    terms: dict[str, Tensor] = field(default_factory=dict)
    consistency_weight: float | None = None


class Objective(Protocol):
    """Which loss is minimised?"""

    def __call__(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        *,
        consistency: float,
        backward: Callable[[Tensor], None] | None,
    ) -> ObjectiveOutput:
        """The loss of one micro-batch.

        Args:
            model: any callable that takes the inputs without ``labels`` and returns ``logits``.
            inputs: tensors of shape (batch, ...) with ``labels`` of shape (batch,), or (batch, tokens) for token-level
                outputs.
            consistency: whether the symmetric KL of two dropout passes of the clean input is wanted as well: False, or
                the share of the rows that it may be limited to, True for all of them.
            backward: for objectives with several ascent passes: back-propagates a part of the loss at once, divided
                by the accumulation steps. None: ``loss.backward()``.
        """
        ...


@runtime_checkable
class StatefulObjective(Objective, Protocol):
    """An objective that keeps something from step to step: a second model, weights of its own, a step count.

    :class:`~rosetune.RobustTrainer` calls these; a plain loop does so itself (see ``examples/plain_loop.py``).
    """

    def setup(
        self, model: torch.nn.Module, *, tokenizer: Any = None, total_steps: int | None = None, seed: int = 0
    ) -> None:
        """Start anew from this model, before its training starts.

        A second training with the optimizer of the first starts the objective anew as well, unless it has weights of
        its own, which that optimizer goes on with.

        Args:
            model: the pre-trained model, on its device; not wrapped.
            tokenizer: the model's, for objectives that need to know words.
            total_steps: optimizer steps of the whole training, for schedules; None where it is unknown.
            seed: of weights that are drawn here, never from the global random state.
        """
        ...

    def begin_step(self, model: torch.nn.Module) -> None:
        """Called before the first micro-batch of every optimizer step, also of the first."""
        ...

    def named_parameters(self) -> list[tuple[str, Parameter]]:
        """Weights of the objective's own that the optimizer must train as well; known after :meth:`setup`."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Whatever a resumed run needs, as plain values and tensors."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of :meth:`state_dict`; called after :meth:`setup`."""
        ...


class UpdateMask(Protocol):
    """Which updates are applied?

    Attributes:
        freezes_update: True where a masked tensor is neither moved nor decayed (ROSE); False where the mask only
            scales the gradient (Child-Tuning).
        needs: the losses whose gradient the mask wants to see in the coming step, of {"consistency", "task_loss"}.
    """

    freezes_update: bool

    @property
    def needs(self) -> frozenset[str]: ...

    def observe(
        self,
        optimizer: torch.optim.Optimizer,
        *,
        consistency: Tensor | None = None,
        task_loss: Tensor | None = None,
    ) -> None:
        """See the losses of one micro-batch, before its backward pass.

        ``task_loss`` is passed only where it is not the loss that is back-propagated (R-Drop); otherwise ``.grad``
        holds its gradient when the step comes.
        """
        ...

    def __call__(self, optimizer: torch.optim.Optimizer) -> dict[Parameter, float | Tensor]:
        """The multiplier of each masked tensor for this step; a parameter that is absent is updated in full."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Whatever a resumed run needs, as plain values and tensors."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of :meth:`state_dict`."""
        ...


@runtime_checkable
class DenseMask(UpdateMask, Protocol):
    """An update mask that takes a share of AdamW's own step (Magma): the moments see every gradient in full.

    Its multipliers are numbers M, one a tensor, and theta becomes theta + M (theta' - theta), where theta' is what
    AdamW would have made of it, with its weight decay.

    Attributes:
        dense_moments: True.
    """

    dense_moments: bool


@runtime_checkable
class ObservingMask(UpdateMask, Protocol):
    """An update mask that holds what it observed until the step comes (ROSE), and may have to forget it."""

    def discard(self) -> None:
        """Forget what was observed since the last step."""
        ...

    def discard_used(self, optimizer: torch.optim.Optimizer) -> None:
        """Forget it if a backward pass has run since: then a gradient scaler has skipped the step it was for."""
        ...


@runtime_checkable
class ScaledMask(UpdateMask, Protocol):
    """An update mask whose own gradients can overflow where a scaler multiplies the losses (ROSE)."""

    def overflowed(self) -> Tensor | None:
        """Whether one of this step has, on its device; None: not known before the backward pass."""
        ...


@runtime_checkable
class SparingMask(UpdateMask, Protocol):
    """An update mask that can do with less of a step than all of it (ROSE).

    Attributes:
        consistency_share: of the rows of a micro-batch whose consistency it wants to see, in (0, 1].
    """

    consistency_share: float

    def observe(
        self,
        optimizer: torch.optim.Optimizer,
        *,
        consistency: Tensor | None = None,
        task_loss: Tensor | None = None,
        consistency_weight: float | None = None,
    ) -> None:
        """As for any mask; ``consistency_weight`` is that of :class:`ObjectiveOutput`."""
        ...

    def resting(self, optimizer: torch.optim.Optimizer, model: torch.nn.Module) -> AbstractContextManager[None]:
        """Around forward and backward pass of every micro-batch: what this step does not update takes no gradient.

        Args:
            model: as it is called, with its wrappers.
        """
        ...


@runtime_checkable
class EarlyMask(UpdateMask, Protocol):
    """An update mask that can be made within the backward pass, before the gradients that it does not need (ROSE).

    Attributes:
        spared_norm: of the gradients that this step has left out, for clipping; None: there are none.
    """

    spared_norm: Tensor | None

    def spare(self, optimizer: torch.optim.Optimizer, loss: Tensor) -> Tensor:
        """The loss of a step's only micro-batch, once observed, whose backward pass may leave out what is frozen."""
        ...


@runtime_checkable
class TracedMask(UpdateMask, Protocol):
    """An update mask that can record its multipliers (ROSE)."""

    @property
    def trace(self) -> MaskTrace | None:
        """Those of all steps so far; None where nothing is recorded."""
        ...


@runtime_checkable
class ChoosingMask(UpdateMask, Protocol):
    """An update mask that decides by itself how much it keeps (ROSE with ``upper="auto"``).

    Attributes:
        shares_kept: by name the share of its tensors that it has chosen for the last step; empty where it had none to
            choose.
    """

    shares_kept: dict[str, float]


@runtime_checkable
class PreparedMask(UpdateMask, Protocol):
    """An update mask that must see the training data before the first step (Child-Tuning-D)."""

    prepared: bool

    def prepare(
        self, optimizer: torch.optim.Optimizer, model: torch.nn.Module, batches: Iterable[dict[str, Any]]
    ) -> None:
        """See one pass over the training data; leaves ``.grad``, weights and the global random state as they were.

        Args:
            optimizer: the one that the mask belongs to.
            model: not wrapped, in train mode.
            batches: inputs with labels, on the model's device.
        """
        ...
