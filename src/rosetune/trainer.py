"""Hugging Face's Trainer with any objective and any update mask."""

import copy
import inspect
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from transformers import Trainer, TrainingArguments

from rosetune.methods import Objective, ObjectiveOutput, UpdateMask, build
from rosetune.methods.rose import Rose
from rosetune.optim import SelectiveAdamW

__all__ = ["RobustTrainer", "RobustTrainingArguments"]


@dataclass
class RobustTrainingArguments(TrainingArguments):
    """transformers' training arguments, with an objective and an update mask by name.

    ``logging_nan_inf_filter`` is off (a non-finite loss is shown, not replaced) and ``ddp_broadcast_buffers`` too
    (several forwards in one step fail with it).

    Raises:
        ValueError: an unknown method or option.
    """

    _VALID_DICT_FIELDS = [  # noqa: RUF012 (no field, as in the base class)
        *TrainingArguments._VALID_DICT_FIELDS,
        "objective_kwargs",
        "update_mask_kwargs",
    ]

    objective: str = field(default="cross_entropy", metadata={"help": "Which loss is minimised."})
    objective_kwargs: dict | str | None = field(
        default=None, metadata={"help": 'Options of the objective, as JSON: {"alpha": 0.5}.'}
    )
    update_mask: str | None = field(default=None, metadata={"help": "Which updates are applied; none: all of them."})
    update_mask_kwargs: dict | str | None = field(
        default=None, metadata={"help": 'Options of the update mask, as JSON: {"order": "first", "upper": 0.6}.'}
    )
    logging_nan_inf_filter: bool = field(
        default=False, metadata={"help": "Replace non-finite losses in the log by the mean of the finite ones."}
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.ddp_broadcast_buffers is None:
            self.ddp_broadcast_buffers = False
        build_objective(self)
        build_update_mask(self)


def build_objective(args: TrainingArguments) -> Objective:
    """The objective that the arguments name; plain ``TrainingArguments`` name cross-entropy."""
    name = getattr(args, "objective", "cross_entropy")
    kwargs = getattr(args, "objective_kwargs", None)
    return build("objective", name, kwargs, label_smoothing=args.label_smoothing_factor)


def build_update_mask(args: TrainingArguments) -> UpdateMask | None:
    """A fresh update mask of the kind that the arguments name, or None."""
    name = getattr(args, "update_mask", None)
    if name is None:
        if getattr(args, "update_mask_kwargs", None):
            raise ValueError("update_mask_kwargs is given without update_mask: name the mask as well")
        return None
    return build("update_mask", name, getattr(args, "update_mask_kwargs", None), seed=args.seed)


class RobustTrainer(Trainer):
    """``transformers.Trainer`` that minimises any objective under any update mask.

    Swap the class and say which: everything else (callbacks, resume, mixed precision, accumulation, several GPUs,
    ``hyperparameter_search``) is the Trainer's. The loss is the mean over each micro-batch; at evaluation the model
    runs one plain forward.

    Args:
        objective: overrides ``args.objective``.
        update_mask: overrides ``args.update_mask``; every optimizer that is made gets a fresh copy of it.
        Others: as for ``transformers.Trainer``; ``args`` may be plain ``TrainingArguments``.

    Raises:
        ValueError: ``compute_loss_func``, ``optimizers``, an ``optim`` other than AdamW, DeepSpeed, FSDP or
            ``label_smoothing_factor`` beside an objective or a mask that they would bypass.

    Logs:
        Each term of the objective (mean since the last log), ``mask_density_tensors`` and ``mask_density_scalars``
        (mean multiplier over the masked tensors and over their scalars) and ``nonfinite_steps``, the number of
        micro-batches since the last log whose loss was not finite (where there were any); all of the main process.

    Deviates:
        From a Trainer whose loop is left alone in one more place than the objective needs: ``_clip_grad_norm`` is
        wrapped to remember the clipping coefficient, which nothing else in the Trainer tells.
    """

    # The losses are means over the micro-batch, so that the Trainer divides by the accumulation steps.
    loss_is_scaled_for_ga = False

    def __init__(
        self,
        model: Any = None,
        args: TrainingArguments | None = None,
        *positional: Any,
        objective: Objective | None = None,
        update_mask: UpdateMask | None = None,
        **kwargs: Any,
    ) -> None:
        args = RobustTrainingArguments(output_dir="trainer_output") if args is None else args
        if objective is not None and args.label_smoothing_factor:
            raise ValueError(
                "label_smoothing_factor does not reach an objective that is passed: give it the smoothing"
            )
        self._given_objective, self._given_mask = objective, update_mask
        self.objective: Objective = build_objective(args) if objective is None else objective
        self._sums: dict[str, Tensor | float] = defaultdict(float)
        self._counts: dict[str, int] = defaultdict(int)
        self._seen_step = 0
        given = inspect.signature(Trainer.__init__).bind(self, model, args, *positional, **kwargs).arguments
        self._refuse(args, given)
        super().__init__(model, args, *positional, **kwargs)
        if self._is_masked(args) and (self.is_fsdp_enabled or self.is_deepspeed_enabled):
            raise ValueError(
                "update masks rank whole tensors and do not work on the shards of DeepSpeed or FSDP: use one device "
                "or DistributedDataParallel (accelerate launch)"
            )
        # Sequence-classification heads take num_items_in_batch and drop it.
        self.model_accepts_loss_kwargs = False

    def _is_masked(self, args: TrainingArguments) -> bool:
        return self._given_mask is not None or getattr(args, "update_mask", None) is not None

    def _refuse(self, args: TrainingArguments, given: dict[str, Any]) -> None:
        if given.get("compute_loss_func") is not None:
            raise ValueError("compute_loss_func would bypass the objective: write it as an Objective and pass that")
        for name in ("optimizers", "optimizer_cls_and_kwargs") if self._is_masked(args) else ():
            if given.get(name) not in (None, (None, None)):
                raise ValueError(f"{name} would bypass the update mask, which lives in SelectiveAdamW: leave it out")

    def get_optimizer_cls_and_kwargs(  # type: ignore[override]
        self, args: TrainingArguments, model: Any = None
    ) -> tuple[Any, dict[str, Any]]:
        """torch's AdamW as the arguments have it, made selective where there is an update mask.

        Called for every fresh optimizer, so that a hyper-parameter search gets a fresh mask and objective per trial.
        """
        self.objective = build_objective(args) if self._given_objective is None else self._given_objective
        cls, kwargs = Trainer.get_optimizer_cls_and_kwargs(args, model)
        if not self._is_masked(args):
            return cls, kwargs
        if cls is not torch.optim.AdamW:
            raise ValueError(
                f"an update mask needs AdamW, but optim is {args.optim}: use adamw_torch or adamw_torch_fused"
            )
        model = self.model if model is None else model
        decayed = set(self.get_decay_parameter_names(model))
        named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        groups = [
            {"params": [(n, p) for n, p in named if n in decayed], "weight_decay": args.weight_decay},
            {"params": [(n, p) for n, p in named if n not in decayed], "weight_decay": 0.0},
        ]
        mask = build_update_mask(args) if self._given_mask is None else copy.deepcopy(self._given_mask)
        groups = [group for group in groups if group["params"]]
        return SelectiveAdamW, {**kwargs, "update_mask": mask, "optimizer_dict": groups}

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The objective's loss in training, one plain forward at evaluation."""
        if not model.training:
            return super().compute_loss(model, inputs, return_outputs=return_outputs)
        self._collect_density()
        optimizer = self._selective_adamw()
        mask = None if optimizer is None else optimizer.update_mask
        self._begin_step(mask)
        wants_consistency = mask is not None and "consistency" in mask.needs
        out = self.objective(model, inputs, consistency=wants_consistency, backward=self._backward)
        if optimizer is not None and mask is not None and mask.needs:
            self._observe(mask, optimizer, out)
        for name, value in out.terms.items():
            self._add(name, value)
        self._sums["nonfinite_steps"] += (~torch.isfinite(out.loss.detach())).float()
        return (out.loss, out.outputs) if return_outputs else out.loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the objective's terms and the mask's density to the Trainer's training log."""
        if "loss" in logs:
            self._collect_density()
            nonfinite = float(self._sums.pop("nonfinite_steps", 0.0))
            means = {name: float(total) / self._counts[name] for name, total in self._sums.items()}
            logs = {**logs, **means, **({"nonfinite_steps": nonfinite} if nonfinite else {})}
            self._sums.clear()
            self._counts.clear()
        super().log(logs, start_time)

    def _begin_step(self, mask: UpdateMask | None) -> None:
        """At the first micro-batch of a step: nothing of a step that was skipped, or of an earlier training, stays."""
        if self.state.global_step == self._seen_step:
            return
        if self.state.global_step < self._seen_step:
            self._sums.clear()
            self._counts.clear()
        self._seen_step = self.state.global_step
        if isinstance(mask, Rose):
            mask.discard()

    def _clip_grad_norm(self, model: Any) -> Any:
        norm = super()._clip_grad_norm(model)
        optimizer = self._selective_adamw()
        if optimizer is not None and norm is not None:
            coefficient = torch.clamp(self.args.max_grad_norm / (torch.as_tensor(norm) + 1e-6), max=1.0)
            optimizer.clip_coefficient = coefficient / self._loss_scale()
        return norm

    def _observe(self, mask: UpdateMask, optimizer: SelectiveAdamW, out: ObjectiveOutput) -> None:
        # A 16-bit gradient of an unscaled loss underflows; ranks do not see a common factor, and clip_coefficient
        # takes it out again where a magnitude counts.
        scale = self._loss_scale()
        optimizer.clip_coefficient = 1.0 / scale
        consistency = None if out.consistency is None else out.consistency * scale
        task_loss = None if out.task_loss is out.loss else out.task_loss * scale
        mask.observe(optimizer, consistency=consistency, task_loss=task_loss)

    def _loss_scale(self) -> float:
        scaler = self.accelerator.scaler
        return 1.0 if scaler is None else float(scaler.get_scale())

    def _backward(self, loss: Tensor) -> None:
        self.accelerator.backward(loss / self.current_gradient_accumulation_steps)

    def _selective_adamw(self) -> SelectiveAdamW | None:
        optimizer = getattr(self.optimizer, "optimizer", self.optimizer)  # accelerate wraps it
        return optimizer if isinstance(optimizer, SelectiveAdamW) else None

    def _collect_density(self) -> None:
        optimizer = self._selective_adamw()
        if optimizer is not None and optimizer.density is not None:
            for name, value in optimizer.density.items():
                self._add(f"mask_density_{name}", value)
            optimizer.density = None

    def _add(self, name: str, value: Tensor | float) -> None:
        self._sums[name] += value
        self._counts[name] += 1
