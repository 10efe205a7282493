"""The line from the pre-trained to the fine-tuned weights."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rosetune._torch import unwrap
from rosetune.averaging._contract import Averaging, refuse_adapters
from rosetune.methods._options import number


@dataclass(eq=False)
class PretrainedInterpolation(Averaging):
    """A point on the line from the pre-trained to the fine-tuned weights (WiSE-FT).

        theta = alpha theta_tuned + (1 - alpha) theta_pretrained

    It is computed after training, so that many values of alpha share one; alpha = 1 are the fine-tuned weights, bit
    for bit. What is evaluated while the model trains are the weights of training.

    The head is new, and has no pre-trained value: it is kept as it was fine-tuned, whatever alpha. At alpha = 0 it
    stands on the pre-trained body, which it was not trained for, so that accuracy there may be that of chance.
    ``rosetune train`` keeps every tensor that the pre-trained model's files lack. A Trainer does not know these, and
    keeps what lies outside the base model (``model.base_model``).

    With a Trainer, "pre-trained" are the weights that the model had when the trainer was made.

    Args:
        alpha: in [0, 1].

    Raises:
        ValueError: an option outside its values, a model without a ``base_model``, adapters of peft.

    Reference:
        Wortsman et al., Robust Fine-tuning of Zero-shot Models, CVPR 2022, section 3. They propose alpha = 0.5 where
        nothing is known of the shift.

    Deviates:
        Theirs are zero-shot models, whose head is made of text embeddings and interpolated too. A new head that is
        kept is our choice; a head that was trained on the frozen body first would be another.

    Cost:
        One copy of the pre-trained weights.
    """

    alpha: float = 0.5

    def __post_init__(self) -> None:
        self.alpha = number("alpha", self.alpha, most=1.0)
        self._start: dict[str, Tensor] = {}

    def begin(self, model: Any, args: Any, *, sharded: bool = False) -> None:
        """Keep the weights of the model's body."""
        super().begin(model, args, sharded=sharded)
        refuse_adapters(model, "pretrained")
        prefix = getattr(model, "base_model_prefix", "")
        if not prefix or not isinstance(getattr(model, prefix, None), torch.nn.Module):
            raise ValueError(
                f"averaging 'pretrained' keeps the head, and does not find it in a {type(model).__name__}: use a "
                "transformers model with a base_model"
            )
        state = unwrap(model).state_dict()
        self._start = {n: v.detach().cpu().clone() for n, v in state.items() if n.startswith(f"{prefix}.")}

    def on_train_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        """Put the interpolated weights into the model."""
        inner = unwrap(model)
        tuned = inner.state_dict()
        inner.load_state_dict(self.between(tuned, self._start, kept=tuned.keys() - self._start.keys()))

    def between(
        self, tuned: Mapping[str, Tensor], pretrained: Mapping[str, Tensor], kept: Collection[str]
    ) -> dict[str, Tensor]:
        """The point on the line, in the precision of the fine-tuned weights.

        Args:
            tuned, pretrained: state dicts of one model.
            kept: names of tensors that stay as they were fine-tuned.
        """
        found = dict(tuned)
        for name, value in tuned.items():
            if name not in kept and value.is_floating_point():
                start = pretrained[name].to(value.device).float()
                found[name] = torch.lerp(start, value.float(), self.alpha).to(value.dtype)
        return found
