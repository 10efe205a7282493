"""R3F: the output should not depend on a little noise on the embeddings (Aghajanyan et al., ICLR 2021)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from transformers.utils import ModelOutput

from rosetune._torch import forward
from rosetune.methods._consistency import batch_size, clean_pass, doubled, symmetric_kl
from rosetune.methods._contracts import ObjectiveOutput
from rosetune.methods._options import number, one_of, switch
from rosetune.methods._perturbation import DropoutState, embed, forward_changed, token_mask
from rosetune.methods._task_loss import TaskLoss, scored_tokens, split_labels


@dataclass
class R3F(TaskLoss):
    """Robust representations through regularised fine-tuning.

        L = CE(f(x), y) + lambda (KL(f(x)||f(x + z)) + KL(f(x + z)||f(x)))
        z ~ U(-epsilon, epsilon) or N(0, epsilon^2) for every entry of the word embeddings

    Both arguments of each KL carry gradient, but the noised pass sends none to the table of word embeddings. Padding
    gets no noise. For a regression head the KL terms are replaced by the squared difference of the outputs; for
    token-level outputs they are means over the tokens that have a label.

    Where dropout acts and ``sync_dropout`` is off, the two passes also differ by their dropout masks, and that by far
    more than by noise of 1e-5: the method is then nearly R-Drop with the CE of one pass (alpha = 2 lambda). With
    ``sync_dropout`` what remains is of the order of epsilon^2, so that noise of 1e-5 moves next to nothing.

    Args:
        noise_weight: lambda. 0 leaves the noised pass out.
        epsilon: half the width of the uniform noise, standard deviation of the normal one.
        noise: its distribution, "uniform" or "normal".
        sync_dropout: draw the clean pass's dropout masks again in the noised pass, so that the KL measures the noise
            alone.

    Raises:
        ValueError: an option outside its values; later: the model has no word embeddings that could be perturbed.

    Reference:
        Aghajanyan et al., Better Fine-Tuning by Reducing Representational Collapse, ICLR 2021.

    Cost:
        One forward and backward of the doubled batch; two separate forwards with ``sync_dropout`` or where a
        consistency is asked for, the clean one then being of the doubled batch (with both: three).

    Deviates:
        From the published code: it adds the noise to padding too, sums CE and KL over the batch alike (the same
        lambda), and leaves the term out for regression. Weights in bfloat16 round noise of 1e-5 away. There is no
        spectral normalisation of the head (R4F).
    """

    noise_weight: float = 1.0
    epsilon: float = 1e-5
    noise: Literal["uniform", "normal"] = "uniform"
    sync_dropout: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        number("noise_weight", self.noise_weight)
        number("epsilon", self.epsilon)
        one_of("noise", self.noise, ("uniform", "normal"))
        switch("sync_dropout", self.sync_dropout)

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
        tokens = scored_tokens(model, features, labels)
        outputs, second, noised = self._passes(model, features, consistency)
        loss = task = self.task_loss(outputs.logits, labels)
        terms = {"task_loss": task.detach()}
        if noised is not None:
            divergence = symmetric_kl(outputs.logits, noised, tokens)
            terms["noise"] = divergence.detach()
            loss = task + self.noise_weight * divergence
        kl = None if second is None else symmetric_kl(outputs.logits, second, tokens)
        if kl is not None:
            terms["consistency"] = kl.detach()
        return ObjectiveOutput(loss, task, outputs, kl, terms)

    def _passes(
        self, model: torch.nn.Module, features: dict[str, Any], consistency: float
    ) -> tuple[Any, Tensor | None, Tensor | None]:
        """The clean outputs, the logits of a second clean pass where asked for, and those of the noised pass."""
        if not self.noise_weight:
            return *clean_pass(model, features, consistency), None
        noise = self._draw(features, embed(model, features))
        if not consistency and not self.sync_dropout:
            return _clean_and_noised(model, features, noise)
        dropout = DropoutState(features)
        # First: DistributedDataParallel may look for unused weights in the last forward, and here the table is one.
        noised = forward_changed(model, features, lambda e: _add(e, noise)).logits
        if not self.sync_dropout:
            return *clean_pass(model, features, consistency), noised
        with dropout.again():
            outputs = forward(model, features)
        return outputs, forward(model, features).logits if consistency else None, noised

    def _draw(self, features: dict[str, Any], embeddings: Tensor) -> Tensor:
        """Noise of the shape of the embeddings, none on padding."""
        noise = torch.randn_like(embeddings) if self.noise == "normal" else 2 * torch.rand_like(embeddings) - 1
        return self.epsilon * noise * token_mask(features, embeddings)


def _clean_and_noised(model: torch.nn.Module, features: dict[str, Any], noise: Tensor) -> tuple[Any, None, Tensor]:
    """Both passes in one forward of the doubled batch, whose halves draw their dropout independently."""
    rows = batch_size(features)
    logits = forward_changed(model, doubled(features), lambda e: torch.cat([e[:rows], _add(e[rows:], noise)])).logits
    return ModelOutput(logits=logits[:rows]), None, logits[rows:]


def _add(embeddings: Tensor, noise: Tensor) -> Tensor:
    return embeddings.detach() + noise
