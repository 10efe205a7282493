"""Adversarial training of a hidden layer: what lies above must hold when its input is perturbed."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from rosetune._torch import forward, unwrap
from rosetune.methods._consistency import single_precision, symmetric_kl, two_passes
from rosetune.methods._contracts import ObjectiveOutput
from rosetune.methods._layers import encoder_layers
from rosetune.methods._options import number, one_of, whole
from rosetune.methods._perturbation import NORMS, DropoutState, ascend, project, token_mask
from rosetune.methods._pooled import changed_pooling
from rosetune.methods._task_loss import TaskLoss, scored_tokens, split_labels

Change = Callable[[Tensor], Tensor]


@dataclass
class LatentAdversarial(TaskLoss):
    """Latent adversarial training: projected gradient ascent on a hidden representation, and descent on its loss.

        L = CE(f(h + delta_K), y)
        delta_0 = 0,  delta_{k+1} = project(delta_k + step_size g_k / ||g_k||, epsilon)
        g_k = dCE(f(h + delta_k), y) / ddelta

    where h is what enters the last ``layers`` layers of the encoder and f all that lies above. With ``layers`` = 0 it
    is the pooled state, which the last linear layer turns into logits. Norms are those of each row as a whole; padding
    is not perturbed. All passes of a micro-batch have the same dropout. No gradient flows through the search.

    What lies below is trained too, unless it is frozen: ``--trained_layers N`` of a run, or
    :func:`~rosetune.freeze_below`. With the rest frozen this is the setting of SMAAT, built after descriptions of it.
    Its control is the same freezing under cross-entropy.

    ``outputs`` is that of the first pass, which is clean; ``terms`` has its loss. A row whose g_k is not finite keeps
    its delta (``nonfinite_ascent`` counts rows).

    Args:
        layers: number of layers above the perturbation, from the last one down; 0 is the pooled state.
        epsilon: radius of the projection.
        step_size: length of an ascent step.
        steps: ascent steps, K.
        norm: that of the ascent and of the projection, "l2" or "linf".

    Raises:
        ValueError: an option outside its values; the model has fewer layers, or no pooled state.

    Reference:
        Altinisik et al., Explaining the Role of Intrinsic Dimensionality in Adversarial Training, ICML 2025, arXiv
        2405.17130 (SMAAT): "perturbing the layer with the lowest intrinsic dimensionality", which in an encoder is the
        last one.

    Cost:
        K + 1 forward passes, K backward passes down to the perturbed layer, and one of the whole model, or of what is
        trained. With ``consistency`` one more forward, of the doubled batch, for the KL alone.

    Deviates:
        This is not called SMAAT, since of its paper no more was at hand than abstract and a review. They say: the last
        layer's representation is perturbed, by epsilon of 0.1 to 0.8, that layer alone is trained, for ten epochs, on
        perturbed examples alone. Not verified, and chosen here: steps and their length, the start at zero, the norm,
        which representation of the last layer it is (here behind the pooler, where there is one). Its search for the
        layer by the intrinsic dimension is left out: ``layers`` says it. The layers below are computed anew in every
        pass, where their outputs could be kept.
    """

    layers: int = 0
    epsilon: float = 0.4
    step_size: float = 0.2
    steps: int = 3
    norm: Literal["l2", "linf"] = "l2"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.layers = whole("layers", self.layers)
        self.steps = whole("steps", self.steps, 1)
        number("epsilon", self.epsilon, positive=True)
        number("step_size", self.step_size, positive=True)
        one_of("norm", self.norm, tuple(NORMS))

    def __call__(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        *,
        consistency: float = False,
        backward: Callable[[Tensor], None] | None = None,
    ) -> ObjectiveOutput:
        """The loss of one micro-batch; ``backward`` is not used."""
        features, labels = split_labels(model, inputs)
        dropout = DropoutState(features)
        outputs, clean, delta, stayed = self._search(model, features, labels, dropout)
        with dropout.again(), self._changed(model, lambda h: h + delta.reshape(h.shape).to(h.dtype)):
            loss = self.task_loss(forward(model, features).logits, labels)
        terms = {"task_loss": loss.detach(), "first_pass": clean, "nonfinite_ascent": stayed}
        kl = None
        if consistency:
            first, second, _ = two_passes(model, features)
            kl = symmetric_kl(first, second, scored_tokens(model, features, labels))
            terms["consistency"] = kl.detach()
        return ObjectiveOutput(loss, loss, outputs, kl, terms)

    def _search(
        self, model: torch.nn.Module, features: dict[str, Any], labels: Tensor, dropout: DropoutState
    ) -> tuple[Any, Tensor, Tensor, Tensor]:
        """Outputs and loss of the clean pass, the last delta, and how many rows stayed."""
        # In three dimensions, (batch, tokens, width), also of a pooled state, which has one token.
        state: dict[str, Tensor] = {}

        def perturbed(h: Tensor) -> Tensor:
            if "delta" not in state:
                flat = h if h.dim() == 3 else h.unsqueeze(1)
                state["mask"] = token_mask(features, flat) if self.layers else torch.ones_like(flat[..., :1])
                state["delta"] = torch.zeros_like(single_precision(flat.detach())).requires_grad_()
            shift = (state["delta"] * state["mask"]).reshape(h.shape)
            return h.detach() + shift.to(h.dtype)

        inner, stayed = unwrap(model), torch.zeros((), device=labels.device)
        passes: list[tuple[Any, Tensor]] = []
        for step in range(self.steps):
            with dropout.again(step > 0), self._changed(inner, perturbed):
                outputs = forward(inner, features)
                loss = self.task_loss(outputs.logits, labels)
            passes = passes or [(outputs, loss.detach())]
            (gradient,) = torch.autograd.grad(loss, state["delta"])
            delta, rows = ascend(state["delta"], gradient, self.step_size, self.norm)
            state["delta"] = project(delta, self.epsilon, self.norm).requires_grad_()
            stayed += rows
        return *passes[0], (state["delta"] * state["mask"]).detach(), stayed

    @contextmanager
    def _changed(self, model: torch.nn.Module, change: Change) -> Iterator[None]:
        """Within this, the representation h of every forward is ``change(h)``."""
        if self.layers == 0:
            with changed_pooling(model, change):
                yield
            return
        layers = encoder_layers(model)
        if self.layers > len(layers):
            raise ValueError(f"layers={self.layers}, but the model has {len(layers)}: give fewer")

        def hook(module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            if args:
                return (change(args[0]), *args[1:]), kwargs
            return args, {**kwargs, "hidden_states": change(kwargs["hidden_states"])}

        handle = layers[len(layers) - self.layers].register_forward_pre_hook(hook, with_kwargs=True)
        try:
            yield
        finally:
            handle.remove()
