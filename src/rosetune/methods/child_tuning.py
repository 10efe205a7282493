"""Child-Tuning: back-propagate into a part of the network only (Xu et al., EMNLP 2021)."""

from collections.abc import Iterable
from hashlib import blake2b
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import Parameter

from rosetune.methods._fisher import diagonal_fisher, keep_top
from rosetune.methods._options import number, one_of, same_options, whole
from rosetune.methods._shards import refuse_shards
from rosetune.methods._targets import LAYER_PARAMETERS, check_pattern, select_targets


class ChildTuning:
    """The gradient is masked element by element before an otherwise ordinary AdamW: g <- M g.

        D, task-driven    M_j = 1 where F_j >= the (1 - reserve) percentile of all F, else 0; fixed before training
                          F_j = mean over the batches b of g_bj^2,   g_b: gradient of the batch's mean cross-entropy
        F, task-free      M_j ~ Bernoulli(reserve) / reserve, drawn anew in every step

    Only the gradient is masked: weight decay acts on every scalar, and under F the momentum keeps moving what was not
    drawn. Under D the masked scalars have no momentum, so that decay alone moves them.

    Args:
        mode: "D" or "F".
        reserve: share of the scalars that is kept (p_D, p_F), in (0, 1]. The paper searches 0.1 to 0.3 for D and 0.2
            to 0.4 for F.
        seed: of F's draws, which depend on (seed, step, name of the tensor) alone.
        target_parameters: regular expression (``re.search``) of the tensors to be masked; all others are updated in
            full. None: under D every weight, bias and normalisation inside an encoder or decoder layer, under F every
            tensor.
        fisher: "batch" squares the gradient of each batch's mean loss, as published; it depends on the batch size.
            "example" squares the gradient of each example's loss, which is the diagonal of the empirical Fisher
            information.
        fisher_clip: each tensor's gradient is clipped by itself to this norm before it is squared, as published
            (1.0); None leaves it as it is.
        fisher_batches: how many batches each rank looks at; None: all of the training data.

    Raises:
        ValueError: an option outside its values, or one of D's options under F; later: no tensor matches, D is not
            prepared or was prepared for other tensors, no finite gradient in the Fisher pass, tensors in shards
            (FSDP), or the state of a ChildTuning with other options.

    Reference:
        Xu et al., Raise a Child in Large Language Model: Towards Effective and Generalizable Fine-tuning, EMNLP 2021,
        Algorithm 1.

    Cost:
        D: one more forward and backward of the training data before the first step ("example": row by row, thus as
        many small passes as there are examples), for its time one float32 of each candidate scalar, and then one
        byte. F: one random number of every scalar in every step.

    Deviates:
        From the published code: its D takes the parameters with "layer" in their names, which on GPT-2 are none, and
        the same as here on BERT and RoBERTa. The percentile is exact and found without joining the tensors. A batch
        whose gradient is not finite is left out of F. The published trainers also drop the warm-up that their own
        scripts ask for; here it is the Trainer's.

    Limits:
        Under fp16 the Fisher pass runs without a loss scale, so that tiny gradients count as zero. With LoRA the
        matrices A have no gradient before training (B is zero), so that D keeps none of them unless reserve exceeds
        the share of the B.
    """

    freezes_update = False
    needs: frozenset[str] = frozenset()

    def __init__(
        self,
        mode: Literal["D", "F"] = "D",
        reserve: float = 0.3,
        seed: int = 0,
        target_parameters: str | None = None,
        fisher: Literal["batch", "example"] = "batch",
        fisher_clip: float | None = 1.0,
        fisher_batches: int | None = None,
    ) -> None:
        one_of("mode", mode, ("D", "F"))
        number("reserve", reserve, most=1.0, positive=True)
        one_of("fisher", fisher, ("batch", "example"))
        if fisher_clip is not None:  # None: no clipping
            number("fisher_clip", fisher_clip, positive=True)
        if fisher_batches is not None:  # None: all
            fisher_batches = whole("fisher_batches", fisher_batches, 1)
        seed = whole("seed", seed)
        if mode == "F" and (fisher, fisher_clip, fisher_batches) != ("batch", 1.0, None):
            raise ValueError(
                "fisher, fisher_clip and fisher_batches belong to mode D: mode F looks at no data, leave them out"
            )
        default = LAYER_PARAMETERS if mode == "D" else "."
        self.target_parameters = check_pattern(default if target_parameters is None else target_parameters)
        self.mode, self.reserve, self.seed = mode, float(reserve), seed
        self.fisher, self.fisher_clip, self.fisher_batches = fisher, fisher_clip, fisher_batches
        self._options = {
            **{"mode": mode, "reserve": self.reserve, "target_parameters": self.target_parameters},
            **({"seed": seed} if mode == "F" else {}),
            **{"fisher": fisher, "fisher_clip": fisher_clip, "fisher_batches": fisher_batches},
        }
        self._step = 0
        self._masks: dict[str, Tensor] | None = None  # D's, boolean, by name

    @property
    def prepared(self) -> bool:
        """Whether a step can be taken: D needs :meth:`prepare` first, or a state that holds its mask."""
        return self.mode == "F" or self._masks is not None

    def observe(
        self,
        optimizer: torch.optim.Optimizer,
        *,
        consistency: Tensor | None = None,
        task_loss: Tensor | None = None,
    ) -> None:
        """Nothing to see."""

    def prepare(
        self, optimizer: torch.optim.Optimizer, model: torch.nn.Module, batches: Iterable[dict[str, Any]]
    ) -> None:
        """Fix D's mask from one pass over the training data, in train mode; F needs none.

        Weights, buffers, ``.grad``, modes and torch's random state are afterwards what they were.

        Args:
            optimizer: the one that the mask belongs to.
            model: not wrapped.
            batches: inputs with labels, on the model's device. On several ranks each gives its own.
        """
        if self.mode == "F":
            return
        targets = self._targets(optimizer)
        fisher = diagonal_fisher(
            model,
            [parameter for _, parameter in targets],
            batches,
            per_example=self.fisher == "example",
            clip=self.fisher_clip,
            limit=self.fisher_batches,
        )
        masks = keep_top(fisher, self.reserve)
        self._masks = {name: mask for (name, _), mask in zip(targets, masks, strict=True)}

    @torch.no_grad()
    def __call__(self, optimizer: torch.optim.Optimizer) -> dict[Parameter, float | Tensor]:
        """The element-wise multipliers of every target, boolean under D."""
        targets = self._targets(optimizer)
        if self.mode == "D":
            multipliers = self._fixed(targets)
        else:
            multipliers = {p: self._draw(name, p) for name, p in targets if p.grad is not None}
        self._step += 1
        return multipliers

    def state_dict(self) -> dict[str, Any]:
        """Options, step count and, under D once it is prepared, the mask in bits."""
        state: dict[str, Any] = {"options": dict(self._options), "step": self._step}
        if self._masks is not None:
            state["mask"] = {
                "names": list(self._masks),
                "shapes": [list(mask.shape) for mask in self._masks.values()],
                "bits": [torch.from_numpy(np.packbits(mask.cpu().numpy())) for mask in self._masks.values()],
            }
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` gave; after one from before the Fisher pass, that is still to be done."""
        same_options("ChildTuning", self._options, state["options"])
        self._step, self._masks = int(state["step"]), None
        if "mask" in state:
            saved = state["mask"]
            self._masks = {
                name: _unpack(bits, shape)
                for name, shape, bits in zip(saved["names"], saved["shapes"], saved["bits"], strict=True)
            }

    def _targets(self, optimizer: torch.optim.Optimizer) -> list[tuple[str, Parameter]]:
        targets = select_targets(optimizer, self.target_parameters)
        refuse_shards((p for _, p in targets), "ChildTuning", "where no process has all scalars of a tensor")
        return targets

    def _fixed(self, targets: list[tuple[str, Parameter]]) -> dict[Parameter, float | Tensor]:
        if self._masks is None:
            raise ValueError(
                "ChildTuning(mode='D') must see the training data before the first step: call "
                "mask.prepare(optimizer, model, batches), with the batches as the model takes them and their labels "
                "(RobustTrainer does so by itself)"
            )
        here = {name: tuple(parameter.shape) for name, parameter in targets}
        there = {name: tuple(mask.shape) for name, mask in self._masks.items()}
        if here != there:
            names = [n for n in [*here, *there] if here.get(n) != there.get(n)]
            raise ValueError(
                f"the mask was prepared for other tensors: {names[0]} is {there.get(names[0], 'not there')} in the "
                f"mask and {here.get(names[0], 'not there')} in the optimizer ({len(set(names))} such tensors); use "
                "it with the model it was prepared with, or call prepare again"
            )
        for name, parameter in targets:
            self._masks[name] = self._masks[name].to(parameter.device)
        return {parameter: self._masks[name] for name, parameter in targets}

    def _draw(self, name: str, parameter: Parameter) -> Tensor:
        # A digest, so that the draws of one tensor depend neither on the other tensors nor on their order.
        digest = blake2b(f"{self.seed}/{self._step}/{name}".encode(), digest_size=8).digest()
        generator = torch.Generator(parameter.device).manual_seed(int.from_bytes(digest, "little") >> 1)
        drawn = torch.empty(parameter.shape, dtype=parameter.dtype, device=parameter.device)
        return drawn.bernoulli_(self.reserve, generator=generator).div_(self.reserve)


def _unpack(bits: Tensor, shape: list[int]) -> Tensor:
    flat = np.unpackbits(bits.cpu().numpy(), count=int(np.prod(shape)))
    return torch.from_numpy(flat.astype(bool)).reshape(shape)
