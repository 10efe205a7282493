"""Magma: a random share of AdamW's steps, each scaled by how well gradient and momentum agree (Joo et al., 2026)."""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.nn import Parameter

from rosetune.methods._options import number, whole
from rosetune.methods._targets import select_targets
from rosetune.methods.controls import _Control

# Everything but the embeddings, with their normalisation and projection: word, position and segment tables of any
# architecture.
NO_EMBEDDINGS = r"^(?!.*embed)(?!(?:.*\.)?(?:wte|wpe|shared)\.)"


class RandomStep(_Control):
    """Control of Magma: of AdamW's step a random set of tensors takes all, the others nothing.

        z ~ Bernoulli(p), for each tensor and step
        theta = theta_old + z (theta_new - theta_old)

    where theta_new is AdamW's, with its weight decay. The moments are those of AdamW, of every gradient in full;
    nothing is divided by p. Under ``random``, by contrast, masked tensors keep their momentum, and the share is exact.

    Args:
        p: probability that a tensor takes its step, in (0, 1].
        seed: the draw depends on (seed, step) alone, never on the global random state.
        target_parameters: regular expression of the tensors that may stay; default: all but the embeddings.

    Raises:
        ValueError: an option outside its values.

    Reference:
        Joo et al., On Surprising Effectiveness of Masking Updates in Adaptive Optimizers, arXiv 2602.15322, 2026: the
        random masking that Magma is built on.

    Cost:
        A copy of the targets within the step.
    """

    dense_moments = True

    def __init__(self, p: float = 0.5, seed: int = 0, target_parameters: str = NO_EMBEDDINGS) -> None:
        self.p, self.seed = number("p", p, most=1.0, positive=True), whole("seed", seed)
        super().__init__(target_parameters, p=self.p, seed=self.seed)

    def __call__(self, optimizer: torch.optim.Optimizer) -> dict[Parameter, float | Tensor]:
        """This step's draw."""
        targets = select_targets(optimizer, self.target_parameters)
        drawn = np.random.default_rng([self.seed, self._step]).random(len(targets)) < self.p
        self._step += 1
        return {parameter: float(z) for (_, parameter), z in zip(targets, drawn, strict=True)}


class Magma(RandomStep):
    """Momentum-aligned gradient masking: a random share of the tensors moves, the further the better they align.

        m = beta1 m + (1 - beta1) g                                  AdamW's first moment, as all of AdamW
        s = 0.9 s + 0.1 sigmoid(cos(m, g) / temperature)             one number a tensor
        z ~ Bernoulli(p)                                             one draw a tensor and step
        theta = theta_old + s z (theta_new - theta_old)

    where g is the gradient as it enters the step and theta_new AdamW's weights, with its weight decay. s is updated in
    every step, also where z is 0. It lies between sigmoid(-1 / temperature) and sigmoid(1 / temperature), 0.38 and
    0.62 by default. In the mean about a quarter of AdamW's step is taken, since nothing is divided by p or s: compare
    at a learning rate of its own.

    Args:
        temperature: of the sigmoid.
        smoothing: share of the s before that is kept, in [0, 1).
        Others: as for :class:`RandomStep`.

    Raises:
        ValueError: an option outside its values, or a state that was saved under other options.

    Reference:
        Joo et al., On Surprising Effectiveness of Masking Updates in Adaptive Optimizers, arXiv 2602.15322, 2026.

    Cost:
        A copy of the targets within the step, and three sums over gradient and moment; one wait for the device.

    Deviates:
        The paper is about pre-training. Not seen in it, and chosen here: s begins at 1/2, the value of no alignment;
        the moment is the one after this gradient; a tensor of the model is a block; the embeddings' normalisation
        counts as embedding. A cosine with a zero or with NaN counts as 0.
    """

    def __init__(
        self,
        p: float = 0.5,
        temperature: float = 2.0,
        smoothing: float = 0.9,
        seed: int = 0,
        target_parameters: str = NO_EMBEDDINGS,
    ) -> None:
        super().__init__(p, seed, target_parameters)
        self.temperature = number("temperature", temperature, positive=True)
        self.smoothing = number("smoothing", smoothing, most=1.0)
        if self.smoothing == 1.0:
            raise ValueError("smoothing must be a number in [0, 1), not 1.0: s would never move")
        self._options |= {"temperature": self.temperature, "smoothing": self.smoothing}
        self._alignment: dict[str, float] = {}

    def __call__(self, optimizer: torch.optim.Optimizer) -> dict[Parameter, float | Tensor]:
        """This step's draw, scaled."""
        drawn = super().__call__(optimizer)
        names = {parameter: name for name, parameter in select_targets(optimizer, self.target_parameters)}
        for parameter, cosine in _cosines(optimizer, set(drawn)).items():
            name, now = names[parameter], 1 / (1 + math.exp(-cosine / self.temperature))
            self._alignment[name] = self.smoothing * self._alignment.get(name, 0.5) + (1 - self.smoothing) * now
        return {parameter: float(z) * self._alignment.get(names[parameter], 0.5) for parameter, z in drawn.items()}

    def state_dict(self) -> dict[str, Any]:
        """Options, step count, and s by the tensor's name."""
        return {**super().state_dict(), "alignment": dict(self._alignment)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore them."""
        super().load_state_dict(state)
        self._alignment = {name: float(s) for name, s in state["alignment"].items()}


def _cosines(optimizer: torch.optim.Optimizer, targets: set[Parameter]) -> dict[Parameter, float]:
    """Of gradient and first moment after this gradient, for each target that has one."""
    found, sums = [], []
    for group in optimizer.param_groups:
        beta1 = group["betas"][0]
        for parameter in group["params"]:
            if parameter not in targets or parameter.grad is None:
                continue
            gradient = parameter.grad.detach().float()
            moment = gradient * (1 - beta1)
            if optimizer.state.get(parameter):
                moment = moment + beta1 * optimizer.state[parameter]["exp_avg"].float()
            norms = _whole(torch.linalg.vector_norm(moment)) * _whole(torch.linalg.vector_norm(gradient))
            sums.append(_whole((moment * gradient).sum()) / norms.clamp_min(torch.finfo(norms.dtype).tiny))
            found.append(parameter)
    cosines = torch.stack(sums).nan_to_num(0.0, 0.0, 0.0).tolist() if sums else []
    return dict(zip(found, cosines, strict=True))


def _whole(value: Tensor) -> Tensor:
    return value.full_tensor() if isinstance(value, DTensor) else value  # of shards
