"""Noise consistency: a text and a noisy copy of it should get the same answer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import Parameter

from rosetune._torch import forward
from rosetune.augmentation.noise import NoiseAugmentation
from rosetune.methods._consistency import clean_pass, symmetric_kl
from rosetune.methods._contracts import ObjectiveOutput
from rosetune.methods._noisy_rows import NoisyRows
from rosetune.methods._options import number, one_of
from rosetune.methods._task_loss import TaskLoss, split_labels


@dataclass
class NoiseConsistency(TaskLoss):
    """The outputs for a text and for a noisy copy of it are drawn together; only the clean text has a label.

        L = CE(f(x), y) + alpha (KL(p(x) || p(x')) + KL(p(x') || p(x)))        x' = noise(x), drawn anew in each step

    Both arguments of each KL carry gradient. Each pass has a dropout of its own, so that the term also holds R-Drop's.
    For a regression head the KL terms are replaced by the squared difference of the outputs.

    Args:
        alpha: weight of the consistency term.
        noises: names of noises (`rosetune evaluate --help` lists them); null: all of them. One noise a row.
        strength: least and greatest share of the words touched; uniform between them.
        risk: what a mask that ranks by the consistency (ROSE-First, -Ensemble) is given: "dropout", the KL of two
            dropout passes of the clean text as from any other objective, or "noise", the KL above. With alpha 0 and
            "noise" the loss is the cross-entropy, and ROSE's first-order risk speaks of noise in the place of dropout.

    Raises:
        ValueError: an option outside its range, an unknown noise; later: no tokenizer, labels of tokens, or a batch
            without ``input_ids``.

    Logs:
        ``task_loss`` (clean CE) and ``noise_consistency`` (the KL); ``consistency`` where the mask asks for it.

    Reference:
        The loss is that of R-Drop (Liang et al. 2021) with noise in the place of the second pass; consistency under
        character noise is a common regulariser, and this form of it is our choice.

    Cost:
        Two forwards and one backward through both, about R-Drop's; tokenising the noisy copies on the CPU. A mask that
        ranks by the consistency of two dropout passes takes a third forward, one of risk "noise" none.

    Deviates:
        The noise goes into the decoded text. What the tokenizer has lost (capitals, unknown words) is lost there too,
        and two texts of a pair are told apart by the special tokens between them.
    """

    alpha: float = 1.0
    noises: Sequence[str] | None = None
    strength: Sequence[float] = (0.1, 1.0)
    risk: Literal["dropout", "noise"] = "dropout"

    def __post_init__(self) -> None:
        super().__post_init__()
        number("alpha", self.alpha)
        one_of("risk", self.risk, ("dropout", "noise"))
        self._noise = NoiseAugmentation(self.noises, p=1.0, strength=self.strength)
        self._rows: NoisyRows | None = None
        self._step = 0

    def setup(
        self, model: torch.nn.Module, *, tokenizer: Any = None, total_steps: int | None = None, seed: int = 0
    ) -> None:
        """Read the tokenizer; ``model`` and ``total_steps`` are not used.

        Raises:
            ValueError: there is no tokenizer.
        """
        if tokenizer is None:
            raise ValueError(
                "noise_consistency must read texts: pass processing_class=tokenizer to the trainer, or tokenizer= to "
                "setup()"
            )
        self._rows, self._step = NoisyRows(tokenizer, self._noise, seed), 0

    def begin_step(self, model: torch.nn.Module) -> None:
        """Count the step, which other noise is drawn for."""
        self._step += 1

    def named_parameters(self) -> list[tuple[str, Parameter]]:
        """None."""
        return []

    def state_dict(self) -> dict[str, Any]:
        """How many steps have begun."""
        return {"step": self._step}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from the step of :meth:`state_dict`."""
        self._step = int(state["step"])

    def __call__(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        *,
        consistency: bool = False,
        backward: Callable[[Tensor], None] | None = None,
    ) -> ObjectiveOutput:
        """The loss of one micro-batch; ``backward`` is not used.

        Raises:
            ValueError: :meth:`setup` was not called; the labels are not those of whole texts.
        """
        if self._rows is None:
            raise ValueError(
                "noise_consistency was not set up: call setup(model, tokenizer=...) first, as RobustTrainer does"
            )
        features, labels = split_labels(model, inputs)
        if labels.dim() != 1:
            raise ValueError(
                f"noise_consistency needs one label a text, of shape (batch,), not {tuple(labels.shape)}: noise "
                "changes the number of tokens"
            )
        outputs, second = clean_pass(model, features, consistency and self.risk == "dropout")
        noisy = forward(model, self._rows.features(model, features, self._step)).logits
        ce = self.task_loss(outputs.logits, labels)
        kl = symmetric_kl(outputs.logits, noisy)
        terms = {"task_loss": ce, "noise_consistency": kl}
        symmetric = kl if consistency else None
        if second is not None:
            terms["consistency"] = symmetric = symmetric_kl(outputs.logits, second)
        terms = {name: term.detach() for name, term in terms.items()}
        return ObjectiveOutput(ce + self.alpha * kl, ce, outputs, symmetric, terms)
