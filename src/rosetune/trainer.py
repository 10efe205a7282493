"""Hugging Face's Trainer with any objective and any update mask."""

import copy
import inspect
import math
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor
from transformers import Trainer, TrainingArguments
from transformers.trainer_utils import has_length

from rosetune._epoch import EpochOfData
from rosetune._fsdp import restoring_method_state, save_method_state
from rosetune._means import Means
from rosetune._refusals import OWN_LOSS, refuse_bypasses, refuse_layouts, refuse_own_weights, warn_of_no_shards
from rosetune._torch import Moved, unwrap
from rosetune.arguments import RobustTrainingArguments, build_averaging, build_objective, build_update_mask
from rosetune.averaging import Averaging
from rosetune.data.balance import balanced_sampler
from rosetune.data.by_length import grouped_sampler
from rosetune.methods import (
    EarlyMask,
    Objective,
    ObjectiveOutput,
    ObservingMask,
    PreparedMask,
    ScaledMask,
    SparingMask,
    StatefulObjective,
    UpdateMask,
)
from rosetune.methods._state import keep_with, require_state
from rosetune.methods.cross_entropy import CrossEntropy
from rosetune.optim import SelectiveAdamW, require_same_mask

__all__ = ["RobustTrainer", "RobustTrainingArguments"]


class RobustTrainer(Trainer):
    """``transformers.Trainer`` that minimises any objective under any update mask.

    Swap the class and say which: everything else (callbacks, resume, mixed precision, accumulation, several GPUs,
    ``hyperparameter_search``) is the Trainer's. The loss is the mean over each micro-batch; at evaluation the model
    runs one plain forward.

    Args:
        objective: overrides ``args.objective``; used as it is, so that each trainer needs its own.
        update_mask: overrides ``args.update_mask``; every optimizer that is made gets a fresh copy of it.
        averaging: overrides ``args.averaging``; used as it is. The model has the averaged weights once it is trained.
        Others: as for ``transformers.Trainer``; ``args`` may be plain ``TrainingArguments``.

    Attributes:
        training_objective: the objective in use (``objective`` is transformers' name for the score of a search).

    Raises:
        ValueError: ``compute_loss_func``, ``optimizers``, an ``optim`` other than AdamW, DeepSpeed, FSDP 1 or
            ``label_smoothing_factor`` beside an objective, a mask or an averaging that they would bypass; an
            augmentation with data that is no :class:`~rosetune.AugmentedDataset`; in the first step: a subclass whose
            ``compute_loss`` or ``create_optimizer`` bypasses them.

    Logs:
        Each term of the objective (mean since the last log), ``mask_density_tensors`` and ``mask_density_scalars``
        (mean multiplier over the masked tensors and over their scalars), under ``upper="auto"`` of ``Rose``
        ``mask_density_first`` and ``mask_density_second`` (mean share of tensors that it kept), and
        ``nonfinite_steps``, the number of micro-batches since the last log whose loss was not finite, and
        ``skipped_steps``, that of steps that were left out since the norm of their gradient was not finite (where
        there were any); all of the main process.

    Deviates:
        From a Trainer whose loop is left alone in two more places than the objective needs: ``_clip_grad_norm`` is
        wrapped to remember the clipping coefficient, which nothing else in the Trainer tells, and ``_get_grad_norm``
        to skip a step whose gradient is not finite, which leaves weights, moments and mask as they were.
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
        averaging: Averaging | None = None,
        **kwargs: Any,
    ) -> None:
        args = RobustTrainingArguments(output_dir="trainer_output") if args is None else args
        if objective is not None and not callable(objective):
            raise ValueError(
                f"objective must be an objective such as FreeLB(), not {objective!r}: a name goes into "
                "RobustTrainingArguments(objective=...)"
            )
        if objective is not None and args.label_smoothing_factor:
            raise ValueError(
                "label_smoothing_factor does not reach an objective that is passed: give it the smoothing"
            )
        self._given_objective, self._given_mask = objective, update_mask
        self._averaging = build_averaging(args) if averaging is None else averaging
        self.training_objective: Objective = build_objective(args) if objective is None else objective
        self._means = Means()
        self._seen_step = -1
        self._kept_with: torch.optim.Optimizer | None = None  # which optimizer's state holds the objective's
        self._asked = False
        given = inspect.signature(Trainer.__init__).bind(self, model, args, *positional, **kwargs).arguments
        refuse_bypasses(args, given, masked=self._is_masked(args))
        super().__init__(model, args, *positional, **kwargs)
        if self._is_masked(args):
            refuse_layouts(self)
        warn_of_no_shards(self)
        self.add_callback(EpochOfData())
        if self._averaging is not None:
            self._averaging.begin(self.model, args, sharded=self.is_fsdp_enabled or self.is_deepspeed_enabled)
            self.add_callback(self._averaging)
        if self._is_masked(args) and args.torch_compile:
            # A compiled backward pass otherwise overwrites what the gradients that rank need as well.
            torch._functorch.config.donated_buffer = False
        # Sequence-classification heads take num_items_in_batch and drop it.
        self.model_accepts_loss_kwargs = False

    @property
    def update_mask(self) -> UpdateMask | None:
        """The mask of the optimizer in use; None without one, or before the first training."""
        optimizer = self._selective_adamw()
        return None if optimizer is None else optimizer.update_mask

    def _is_masked(self, args: TrainingArguments) -> bool:
        return self._given_mask is not None or getattr(args, "update_mask", None) is not None

    def get_optimizer_cls_and_kwargs(  # type: ignore[override]
        self, args: TrainingArguments, model: Any = None
    ) -> tuple[Any, dict[str, Any]]:
        """torch's AdamW as the arguments have it, made selective where there is an update mask.

        Called for every fresh optimizer, so that a hyper-parameter search gets a fresh mask and objective per trial.
        """
        model = self.model if model is None else model
        self.training_objective = build_objective(args) if self._given_objective is None else self._given_objective
        own = self._set_up(self.training_objective, model, args)
        if own and self.is_fsdp_enabled:
            refuse_own_weights(type(self.training_objective).__name__)
        cls, kwargs = Trainer.get_optimizer_cls_and_kwargs(args, model)
        if not self._is_masked(args) and not own:
            return cls, kwargs
        if self._is_masked(args) and cls is not torch.optim.AdamW:
            raise ValueError(
                f"an update mask needs AdamW, but optim is {args.optim}: use adamw_torch or adamw_torch_fused"
            )
        decayed = set(self.get_decay_parameter_names(model))
        named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        groups = [
            {"params": [(n, p) for n, p in named if n in decayed], "weight_decay": args.weight_decay},
            {"params": [(n, p) for n, p in named if n not in decayed], "weight_decay": 0.0},
            {"params": own, "weight_decay": args.weight_decay},
        ]
        groups = [group for group in groups if group["params"]]
        if not self._is_masked(args):
            return cls, {**kwargs, "optimizer_dict": groups}
        mask = build_update_mask(args) if self._given_mask is None else copy.deepcopy(self._given_mask)
        return SelectiveAdamW, {**kwargs, "update_mask": mask, "optimizer_dict": groups}

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """The Trainer's optimizer; its state dict, and so every checkpoint, also carries the objective's state.

        Called at the start of every training and of every attempt at one; an optimizer that is there is kept.
        """
        self._seen_step = -1
        self._means.clear()
        if self.optimizer is not None:
            self._restart()
        optimizer = super().create_optimizer(model)
        inner = _inner(optimizer)
        if isinstance(inner, torch.optim.Optimizer) and inner is not self._kept_with:
            keep_with(inner, self.training_objective)
            if not isinstance(inner, SelectiveAdamW):
                inner.register_load_state_dict_pre_hook(lambda _, state: require_same_mask(state, None))
            self._kept_with = inner
        if self._averaging is not None:
            self._averaging.follow(inner, self.model)
        return optimizer

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        """The Trainer's, which goes on with a fresh optimizer in silence where a checkpoint holds none."""
        if checkpoint is not None and not self.is_deepspeed_enabled:
            objective = self.training_objective
            mask = ["the update mask"] if self._is_masked(self.args) else []
            own = [type(objective).__name__] if isinstance(objective, StatefulObjective) else []
            require_state(checkpoint, [*mask, *own])
        restoring: AbstractContextManager[None] = nullcontext()
        if checkpoint is not None and self.is_fsdp_enabled:
            restoring = restoring_method_state(_inner(self.optimizer), checkpoint)
        with restoring:
            super()._load_optimizer_and_scheduler(checkpoint)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        super()._save_optimizer_and_scheduler(output_dir)
        if self.is_fsdp_enabled and self.args.should_save and self.optimizer is not None:
            save_method_state(self.optimizer, output_dir)

    def training_step(self, model: Any, *args: Any, **kwargs: Any) -> Tensor:
        """The Trainer's, with a look at whether a subclass's ``compute_loss`` came here."""
        self._asked = False
        optimizer, mask = self._selective_adamw(), self.update_mask
        resting: AbstractContextManager[None] = nullcontext()
        if isinstance(mask, SparingMask) and optimizer is not None:
            resting = mask.resting(optimizer, model)
        with resting:
            loss = super().training_step(model, *args, **kwargs)
        if not self._asked and (self._is_masked(self.args) or self.training_objective != CrossEntropy()):
            raise ValueError(
                f"{type(self).__name__}.compute_loss bypasses objective and update mask, since it does not call "
                f"super().compute_loss(...): {OWN_LOSS}"
            )
        return loss

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The objective's loss in training, one plain forward at evaluation."""
        if not model.training:
            return super().compute_loss(model, inputs, return_outputs=return_outputs)
        self._asked = True
        self._collect_density()
        optimizer, mask = self._selective_adamw(), self.update_mask
        if optimizer is None and self._is_masked(self.args):
            raise ValueError(
                f"the optimizer in use is no SelectiveAdamW ({type(_inner(self.optimizer)).__name__}), so that the "
                "update mask would do nothing: leave create_optimizer to RobustTrainer, and set trainer.optimizer = "
                "None where the mask was named after a first train()"
            )
        self._begin_step(model, optimizer, mask)
        wants_consistency: float = mask is not None and "consistency" in mask.needs
        if wants_consistency and isinstance(mask, SparingMask):
            wants_consistency = mask.consistency_share
        out = self.training_objective(model, inputs, consistency=wants_consistency, backward=self._backward)
        if optimizer is not None and mask is not None and mask.needs:
            self._observe(mask, optimizer, out)
        for name, value in out.terms.items():
            self._means.add(name, value)
        self._means.count("nonfinite_steps", (~torch.isfinite(out.loss.detach())).float())
        if return_outputs:
            return out.loss, out.outputs
        # A subclass may go on with the loss, and then with the graph.
        whole_step = getattr(self, "current_gradient_accumulation_steps", 0) == 1
        last = whole_step and type(self).compute_loss is RobustTrainer.compute_loss
        return mask.spare(optimizer, out.loss) if last and optimizer and isinstance(mask, EarlyMask) else out.loss

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """The Trainer's; while an ``ema`` trains, of its weights."""
        with nullcontext() if self._averaging is None else self._averaging.applied():
            return super().evaluate(*args, **kwargs)

    def _maybe_log_save_evaluate(self, tr_loss: Tensor, *args: Any, **kwargs: Any) -> None:
        logs = self.control.should_log and self.state.global_step > self._globalstep_last_logged
        if logs:
            self._means.gather()
        super()._maybe_log_save_evaluate(tr_loss, *args, **kwargs)
        if logs:  # the Trainer subtracts the sum from itself, which leaves NaN of a loss that was not finite
            tr_loss.nan_to_num_(0.0, 0.0, 0.0)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the objective's terms and the mask's density to the Trainer's training log."""
        if "loss" in logs:
            self._collect_density()
            logs = {**logs, **self._means.take()}
        super().log(logs, start_time)

    def _set_up(self, objective: Objective, model: Any, args: TrainingArguments) -> list[tuple[str, Any]]:
        """Start a stateful objective anew; returns the named weights that it wants to be trained."""
        if getattr(objective, "balanced_batches", False) and not hasattr(self.train_dataset, "__len__"):
            raise ValueError(
                "class-balanced batches cannot be drawn from a stream of data: give a datasets.Dataset, or the "
                "objective balanced_batches=false"
            )
        if not isinstance(objective, StatefulObjective):
            return []
        total = self.state.max_steps or (args.max_steps if args.max_steps > 0 else None)
        objective.setup(model, tokenizer=self.processing_class, total_steps=total, seed=args.seed)
        return objective.named_parameters()

    def _restart(self) -> None:
        """Start the objective anew for an optimizer that was given, or that an earlier training left."""
        objective = self.training_objective
        if isinstance(objective, StatefulObjective) and objective.named_parameters():
            return  # which that optimizer trains: new ones would stay as they are
        if self._set_up(objective, self.model, self.args):
            raise ValueError(
                f"optimizers would leave the weights of {type(objective).__name__}'s own untrained: leave it out"
            )

    def _begin_step(self, model: Any, optimizer: SelectiveAdamW | None, mask: UpdateMask | None) -> None:
        """At the first micro-batch of a step: nothing of a step that was skipped stays."""
        if self.state.global_step == self._seen_step:
            return
        self._seen_step = self.state.global_step
        if isinstance(mask, ObservingMask):
            mask.discard()
        if isinstance(self.training_objective, StatefulObjective):
            self.training_objective.begin_step(unwrap(model))
        if isinstance(mask, PreparedMask) and optimizer is not None and not mask.prepared:
            batches = Moved(self.get_train_dataloader(), self._prepare_inputs, quiet=self.args.disable_tqdm)
            mask.prepare(optimizer, unwrap(model), batches)

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        """Batches of one length, or with as many rows of every class for an objective that asks for it."""
        # The loader is made before the optimizer, and so before an objective that a search has just named.
        objective = build_objective(self.args) if self._given_objective is None else self._given_objective
        dataset: Any = self.train_dataset if train_dataset is None else train_dataset
        grouped = self.args.train_sampling_strategy == "group_by_length" and has_length(dataset)
        if getattr(objective, "balanced_batches", False):
            if grouped:
                raise ValueError(
                    "batches hold either as many rows of every class or texts of one length: leave "
                    "train_sampling_strategy out, or give the objective balanced_batches=false"
                )
            return balanced_sampler(dataset, self.label_names, self._train_batch_size, self.args.seed)
        if grouped:
            rows = self._train_batch_size * self.args.gradient_accumulation_steps * self.args.world_size
            seed = self.args.seed if self.args.data_seed is None else self.args.data_seed
            return grouped_sampler(dataset, rows, seed)
        return super()._get_train_sampler(train_dataset)

    def _clip_grad_norm(self, model: Any) -> Any:
        norm = super()._clip_grad_norm(model)
        norm = norm.full_tensor() if isinstance(norm, DTensor) else norm  # of shards
        optimizer = self._selective_adamw()
        if optimizer is not None and norm is not None:
            norm = optimizer.remember_clipping(torch.as_tensor(norm), self.args.max_grad_norm)
            optimizer.clip_coefficient = optimizer.clip_coefficient / self._loss_scale()
        return norm

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
        norm = super()._get_grad_norm(model, grad_norm)
        left_out = self.update_mask.spared_norm if isinstance(self.update_mask, EarlyMask) else None
        if grad_norm is None and norm is not None and left_out is not None:  # nothing is clipped
            norm = math.hypot(norm, left_out)
        if norm is not None and not math.isfinite(norm) and self.accelerator.scaler is None:
            optimizer = self._selective_adamw()
            if optimizer is None:
                model.zero_grad()  # any other AdamW takes no step without a gradient
            else:
                optimizer.skip_step()
            self._means.count("skipped_steps", 1.0)
        return norm

    def _observe(self, mask: UpdateMask, optimizer: SelectiveAdamW, out: ObjectiveOutput) -> None:
        # A 16-bit gradient of an unscaled loss underflows; ranks do not see a common factor, and clip_coefficient
        # takes it out again where a magnitude counts.
        scale = self._loss_scale()
        optimizer.clip_coefficient = 1.0 / scale
        consistency = None if out.consistency is None else out.consistency * scale
        task_loss = None if out.task_loss is out.loss else out.task_loss * scale
        weight = {"consistency_weight": out.consistency_weight} if isinstance(mask, SparingMask) else {}
        mask.observe(optimizer, consistency=consistency, task_loss=task_loss, **weight)
        overflowed = mask.overflowed() if scale != 1.0 and isinstance(mask, ScaledMask) else None
        if overflowed is not None:  # the scaler skips the step and lowers its scale, as for the loss itself
            out.loss.register_hook(lambda gradient: gradient * torch.where(overflowed, torch.inf, 1.0))

    def _loss_scale(self) -> float:
        scaler = self.accelerator.scaler
        return 1.0 if scaler is None else float(scaler.get_scale())

    def _backward(self, loss: Tensor) -> None:
        self.accelerator.backward(loss / self.current_gradient_accumulation_steps)

    def _selective_adamw(self) -> SelectiveAdamW | None:
        optimizer = _inner(self.optimizer)
        return optimizer if isinstance(optimizer, SelectiveAdamW) else None

    def _collect_density(self) -> None:
        optimizer = self._selective_adamw()
        if optimizer is not None and optimizer.density is not None:
            for name, value in optimizer.density.items():
                self._means.add(f"mask_density_{name}", value)
            optimizer.density = None


def _inner(optimizer: Any) -> Any:
    """The optimizer itself, which accelerate wraps."""
    return getattr(optimizer, "optimizer", optimizer)
