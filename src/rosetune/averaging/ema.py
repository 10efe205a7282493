"""The exponential moving average of the weights while they are trained."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import Parameter

from rosetune._torch import unwrap
from rosetune.averaging._contract import Averaging
from rosetune.methods._options import number, same_options

_KEY = "averaging"  # in an optimizer's state dict


@dataclass(eq=False)
class ExponentialMovingAverage(Averaging):
    """The exponential moving average of the weights, over the optimizer steps of a training.

        a_t = (1 - d) / (1 - d^t) sum_i d^(t - i) theta_i,  i = 1 .. t,  d = decay

    where theta_i are the weights after step i: Adam's correction of the bias, so that the weights before the first
    step, with their new head, have no part in it. The window is about 1 / (1 - decay) steps; in a shorter training it
    is nearly the plain mean of all steps.

    Averaged are the weights that are trained, in float32; buffers are those of the model. What is evaluated while the
    model trains is the average, and the model holds it from the end of training on: it is reported, and saved. Where
    a checkpoint is chosen on a held-out share, the average of that step. Weights in ``checkpoint-*`` are those of
    training, which a resumed run goes on from; the average is with the optimizer's state there.

    Args:
        decay: d, in [0, 1); 0 keeps the last weights. The default is our choice: published values, near 0.999 and
            above, are of trainings many times longer than a fine-tuning.

    Raises:
        ValueError: an option outside its values; on resuming, a state without this average.

    Reference:
        Polyak and Juditsky, Acceleration of Stochastic Approximation by Averaging, 1992, of the mean; the correction
        is that of Kingma and Ba, Adam, ICLR 2015, section 3.

    Cost:
        One pass over the trained weights a step, and a copy of them in float32; a second copy while it evaluates.
    """

    decay: float = 0.99
    after_training: ClassVar[bool] = False

    def __post_init__(self) -> None:
        self.decay = number("decay", self.decay)
        if self.decay >= 1:
            raise ValueError(f"decay must be a number in [0, 1), not {self.decay!r}: at 1 no step would count")
        self._optimizer: torch.optim.Optimizer | None = None
        self._model: torch.nn.Module | None = None
        self._averages: dict[str, Tensor] = {}
        self._steps = 0

    def follow(self, optimizer: torch.optim.Optimizer, model: Any) -> None:
        """Average after every step of this optimizer, from now on.

        In a plain loop: call it before the first step, and :meth:`finish` after the last.
        """
        self._model, self._averages, self._steps = unwrap(model), {}, 0
        if optimizer is self._optimizer:
            return
        self._optimizer = optimizer
        optimizer.register_step_post_hook(self._after_step)
        optimizer.register_state_dict_post_hook(self._save)
        optimizer.register_load_state_dict_pre_hook(self._load)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within this, the model has the averaged weights; before the first step and after the last its own."""
        trained = self._trained()
        kept = {name: trained[name].detach().clone() for name in self._averages}
        _copy(self._averages, trained)
        try:
            yield
        finally:
            _copy(kept, trained)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Put the average into the model: of the last step, or of the checkpoint that was chosen."""
        if args.load_best_model_at_end and state.best_model_checkpoint is not None:
            path = Path(state.best_model_checkpoint) / "optimizer.pt"
            self._load(None, torch.load(path, map_location="cpu", weights_only=True))
        self.finish()

    def finish(self) -> None:
        """Put the average into the model, which keeps it; training must not go on after it."""
        _copy(self._averages, self._trained())
        self._averages, self._steps = {}, 0

    def _trained(self) -> dict[str, Parameter]:
        model = self._model
        return {} if model is None else {name: p for name, p in model.named_parameters() if p.requires_grad}

    @torch.no_grad()
    def _after_step(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        self._steps += 1
        now = {name: p.detach().float() for name, p in self._trained().items()}
        if self._steps == 1:
            self._averages = {name: value.clone() for name, value in now.items()}
            return
        weight = (1 - self.decay) / (1 - self.decay**self._steps)
        torch._foreach_lerp_([self._averages[name] for name in now], list(now.values()), weight)

    def _save(self, optimizer: Any, state: dict[str, Any]) -> dict[str, Any]:
        own = {"options": {"decay": self.decay}, "steps": self._steps, "averages": self._averages}
        return {**state, _KEY: own}

    def _load(self, optimizer: Any, state: dict[str, Any]) -> dict[str, Any]:
        saved = state.get(_KEY)
        if saved is None:
            raise ValueError(
                "this optimizer state holds no average of the weights: resume with the averaging the run was started "
                "with, or start a new run"
            )
        same_options(type(self).__name__, {"decay": self.decay}, saved["options"])
        trained = self._trained()
        self._steps = int(saved["steps"])
        self._averages = {name: value.to(trained[name].device) for name, value in saved["averages"].items()}
        return {name: value for name, value in state.items() if name != _KEY}


@torch.no_grad()
def _copy(weights: dict[str, Tensor], parameters: dict[str, Parameter]) -> None:
    for name, value in weights.items():
        parameters[name].copy_(value)
