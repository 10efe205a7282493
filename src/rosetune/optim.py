"""AdamW whose update is applied only where an update mask lets it through."""

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.nn import Parameter
from torch.optim.adamw import adamw

from rosetune.methods import ChoosingMask, DenseMask, EarlyMask, ObservingMask, UpdateMask

__all__ = ["SelectiveAdamW"]


class SelectiveAdamW(torch.optim.AdamW):
    """AdamW under an update mask (Algorithm 1 of the ROSE paper).

    With mask M in [0, 1], gradient g and previous first moment m, per parameter tensor:

        g'     = M g + (1 - M) m                       the masked-out part keeps its momentum
        m      = beta1 m + (1 - beta1) g'
        v      = beta2 v + (1 - beta2) g'^2
        theta  = theta - lr (m_hat / (sqrt(v_hat) + eps) + weight_decay theta) M

    The arithmetic is torch's own: tensors that share a multiplier go through one functional ``adamw`` call with the
    learning rate ``lr M``. M = 1 everywhere is bit-identical to ``torch.optim.AdamW``; M = 0 leaves the tensor
    bit-identical, without decay, while its step count advances and v moves toward m^2.

    A mask with ``freezes_update = False`` (Child-Tuning) changes the gradient only, g' = M g, and lets momentum and
    decay run. Under a :class:`~rosetune.methods.DenseMask` (Magma) moments are those of AdamW, g' = g, and of its step
    the share M is taken.

    Args:
        params: named parameters (``model.named_parameters()``, or groups whose ``params`` are named): the masks
            choose tensors by name. Without an update mask plain parameters do as well.
        lr, betas, eps, weight_decay, foreach, fused: as in ``torch.optim.AdamW``.
        update_mask: an :class:`~rosetune.methods.UpdateMask`, or None for plain AdamW.

    Attributes:
        clip_coefficient: what the gradients of this step were multiplied with after the backward pass (gradient
            clipping, loss scaling), for masks that compare another gradient with the moments. Set by
            :meth:`clip_grad_norm_` and by :class:`~rosetune.RobustTrainer`; back to 1 after every step.
        density: after a step, the mean multiplier over the masked ``"tensors"`` and over their ``"scalars"``, and the
            shares of tensors that a :class:`~rosetune.methods.ChoosingMask` has chosen; None where nothing was masked
            yet.

    Raises:
        TypeError: ``update_mask`` is no mask but, say, its name.
        ValueError: a float multiplier outside [0, 1] under a mask that freezes the update (tensors are not checked,
            for the sake of speed), a mask entry of the wrong shape, or a state dict of another mask or of none.

    Reference:
        Jiang et al., ROSE: Robust Selective Fine-tuning for Pre-trained Language Models, EMNLP 2022, Algorithm 1.

    Deviates:
        From the published code: eps and the order of decay follow torch (the fork followed an older AdamW).
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        *,
        update_mask: UpdateMask | None = None,
        foreach: bool | None = None,
        fused: bool | None = None,
    ) -> None:
        if update_mask is not None and not callable(update_mask):
            raise TypeError(f"update_mask must be a mask such as Rose(...), not {update_mask!r}")
        super().__init__(params, lr, betas, eps, weight_decay, foreach=foreach, fused=fused)
        self.update_mask = update_mask
        self.clip_coefficient: float | Tensor = 1.0
        self.density: dict[str, float | Tensor] | None = None
        if update_mask is not None:
            # A fused AdamW offers to unscale fp16 gradients inside its kernel; a mask must see them unscaled before.
            self._step_supports_amp_scaling = False

    _skips = False

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take one step. ``closure`` recomputes the loss, as in any torch optimizer."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        if self._skips:
            self._skips, self.clip_coefficient = False, 1.0
            return loss
        mask = self.update_mask
        multipliers = {} if mask is None else mask(self)
        if mask is not None:
            self._check(multipliers, mask.freezes_update)
            self.density = _density(multipliers)
            if isinstance(mask, ChoosingMask) and self.density is not None:
                self.density |= mask.shares_kept
        for group in self.param_groups:
            if isinstance(mask, DenseMask):
                self._step_dense(group, multipliers)
            else:
                self._step_group(group, multipliers, mask is None or mask.freezes_update)
        self.clip_coefficient = 1.0
        return loss

    def skip_step(self) -> None:
        """Leave the coming :meth:`step` out, and clear the gradients: weights, moments and mask stay as they are.

        For a gradient that is not finite, where no gradient scaler sees to it.
        """
        if isinstance(self.update_mask, ObservingMask):
            self.update_mask.discard()
        self.zero_grad()
        self._skips = True

    def clip_grad_norm_(self, max_norm: float) -> Tensor:
        """Clip the global gradient norm and remember the coefficient; returns the norm before clipping."""
        parameters = [p for group in self.param_groups for p in group["params"]]
        norm = torch.nn.utils.clip_grad_norm_(parameters, max_norm)
        norm = norm.full_tensor() if isinstance(norm, DTensor) else norm  # of shards
        return self.remember_clipping(norm, max_norm)

    def remember_clipping(self, norm: Tensor, max_norm: float) -> Tensor:
        """Record a clipping, and clip further for gradients that the mask left out.

        Args:
            norm: of the gradients that there were, before clipping.
            max_norm: to which they were clipped.

        Returns:
            The norm with what the mask left out (:class:`~rosetune.methods.EarlyMask`).
        """
        coefficient = torch.clamp(max_norm / (norm + 1e-6), max=1.0)
        left_out = self.update_mask.spared_norm if isinstance(self.update_mask, EarlyMask) else None
        if left_out is not None:
            norm = torch.hypot(norm, left_out.to(norm))
            whole = torch.clamp(max_norm / (norm + 1e-6), max=1.0)
            gradients = [p.grad for group in self.param_groups for p in group["params"] if p.grad is not None]
            torch._foreach_mul_(gradients, whole / coefficient)
            coefficient = whole
        self.clip_coefficient = coefficient
        return norm

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Clear the gradients, and with them what a mask observed for a step that a gradient scaler skipped."""
        if isinstance(self.update_mask, ObservingMask):
            self.update_mask.discard_used(self)
        super().zero_grad(set_to_none)

    def state_dict(self) -> dict[str, Any]:
        """torch's state dict, with the mask's kind and own state under ``"update_mask"``."""
        state = super().state_dict()
        if self.update_mask is not None:
            state["update_mask"] = {"kind": type(self.update_mask).__name__, **self.update_mask.state_dict()}
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load moments and mask state."""
        require_same_mask(state_dict, self.update_mask)
        if self.update_mask is not None:
            self.update_mask.load_state_dict({k: v for k, v in state_dict["update_mask"].items() if k != "kind"})
        super().load_state_dict({key: value for key, value in state_dict.items() if key != "update_mask"})

    def __getstate__(self) -> dict[str, Any]:  # torch's leaves out what it does not know, in copies and pickles
        own = ("update_mask", "clip_coefficient", "density", "_step_supports_amp_scaling")
        return {**super().__getstate__(), **{name: getattr(self, name) for name in own if hasattr(self, name)}}

    def _check(self, multipliers: dict[Parameter, float | Tensor], freezes_update: bool) -> None:
        for parameter, m in multipliers.items():
            if isinstance(m, Tensor):
                if m.shape != parameter.shape:
                    raise ValueError(
                        f"an element-wise mask has shape {tuple(m.shape)}, its parameter {tuple(parameter.shape)}"
                    )
            elif freezes_update and not 0.0 <= m <= 1.0:
                raise ValueError(f"an update mask must lie in [0, 1], not {m}")

    def _step_group(
        self, group: dict[str, Any], multipliers: dict[Parameter, float | Tensor], freezes_update: bool
    ) -> None:
        by_multiplier: dict[float, list[Parameter]] = defaultdict(list)
        for parameter in group["params"]:
            m = multipliers.get(parameter, 1.0)
            if not isinstance(m, Tensor):
                by_multiplier[float(m)].append(parameter)
            elif parameter.grad is not None:
                self._adamw_element_wise(group, parameter, m, freezes_update)
            elif not m.any():
                by_multiplier[0.0].append(parameter)
        for m, parameters in by_multiplier.items():
            if m == 0.0 and freezes_update:
                self._freeze(group, parameters)
            else:
                self._adamw(group, [p for p in parameters if p.grad is not None], m, freezes_update)

    def _step_dense(self, group: dict[str, Any], multipliers: dict[Parameter, float | Tensor]) -> None:
        parameters = [p for p in group["params"] if p.grad is not None]
        before = {p: p.clone() for p in parameters if multipliers.get(p, 1.0) != 1.0}
        self._adamw(group, parameters, 1.0, True)
        for parameter, old in before.items():
            # Of weights 0 and 1 it returns the end points exactly.
            parameter.copy_(torch.lerp(old, parameter, multipliers[parameter]))

    def _adamw(self, group: dict[str, Any], parameters: list[Parameter], m: float, freezes_update: bool) -> None:
        if not parameters:
            return
        lists = self._gather(group, parameters)
        lr = group["lr"]
        if m != 1.0:
            if freezes_update:
                lists[1] = list(torch._foreach_lerp(lists[2], lists[1], m))
                lr = lr * m
            elif m == 0.0:  # a NaN would survive a product with zero
                lists[1] = [torch.zeros_like(g) for g in lists[1]]
            else:
                lists[1] = list(torch._foreach_mul(lists[1], m))
        self._kernel(group, lists, lr)

    def _adamw_element_wise(
        self, group: dict[str, Any], parameter: Parameter, mask: Tensor, freezes_update: bool
    ) -> None:
        lists = self._gather(group, [parameter])
        gradient, moment = lists[1][0], lists[2][0]
        mask = mask.to(parameter)
        if not freezes_update:
            lists[1] = [torch.where(mask == 0, torch.zeros_like(gradient), gradient * mask)]
            self._kernel(group, lists, group["lr"])
            return
        lists[1] = [torch.where(mask == 0, moment, torch.lerp(moment, gradient, mask))]
        before = parameter.clone()
        self._kernel(group, lists, group["lr"])
        # torch.lerp returns its end points exactly for weights of 0 and 1.
        parameter.copy_(torch.lerp(before, parameter, mask))

    def _freeze(self, group: dict[str, Any], parameters: list[Parameter]) -> None:
        """M = 0, with or without a gradient: theta and m stay, v moves toward m^2, the step count advances."""
        for parameter in parameters:
            if not self.state.get(parameter):
                # torch makes the state when it first meets a gradient, whose value it does not read for that.
                gradient = parameter.grad
                parameter.grad = torch.zeros_like(parameter) if gradient is None else gradient
                self._gather(group, [parameter])
                parameter.grad = gradient
        states = [self.state[parameter] for parameter in parameters]
        if not states:
            return
        beta2 = group["betas"][1]
        moments = [state["exp_avg"] for state in states]
        torch._foreach_mul_([state["exp_avg_sq"] for state in states], beta2)
        torch._foreach_addcmul_([state["exp_avg_sq"] for state in states], moments, moments, 1 - beta2)
        torch._foreach_add_([state["step"] for state in states], 1)

    def _gather(self, group: dict[str, Any], parameters: list[Parameter]) -> list[list[Tensor]]:
        """Parameters, gradients, first and second moments, (unused) maxima and steps, as ``adamw`` takes them."""
        lists: list[list[Tensor]] = [[], [], [], [], [], []]
        self._init_group({**group, "params": parameters}, *lists)
        return lists

    def _kernel(self, group: dict[str, Any], lists: list[list[Tensor]], lr: float | Tensor) -> None:
        parameters, gradients, exp_avgs, exp_avg_sqs, maxima, steps = lists
        adamw(
            parameters,
            gradients,
            exp_avgs,
            exp_avg_sqs,
            maxima,
            steps,
            foreach=group["foreach"],
            capturable=group["capturable"],
            differentiable=group["differentiable"],
            fused=group["fused"],
            grad_scale=getattr(self, "grad_scale", None),
            found_inf=getattr(self, "found_inf", None),
            amsgrad=group["amsgrad"],
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            lr=lr,
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            maximize=group["maximize"],
        )


def require_same_mask(state_dict: dict[str, Any], mask: UpdateMask | None) -> None:
    """Compare an optimizer state with the mask at hand.

    Raises:
        ValueError: it was saved under another kind of mask, under one where there is none here, or the reverse.
    """
    there = state_dict.get("update_mask", {}).get("kind")
    here = None if mask is None else type(mask).__name__
    if there != here:
        raise ValueError(
            f"this optimizer state was saved with update mask {there or 'none'}, but the optimizer has "
            f"{here or 'none'}: resume with the mask the run was started with, or start a new run"
        )


def _density(multipliers: dict[Parameter, float | Tensor]) -> dict[str, float | Tensor] | None:
    if not multipliers:
        return None
    means = [m.mean(dtype=torch.float32) if isinstance(m, Tensor) else m for m in multipliers.values()]
    sizes = [parameter.numel() for parameter in multipliers]
    return {
        "tensors": sum(means) / len(means),
        "scalars": sum(mean * size for mean, size in zip(means, sizes, strict=True)) / sum(sizes),
    }
