"""One configuration's trainer, and what is kept of its training."""

import dataclasses
import math
import statistics
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import DataCollatorWithPadding, PrinterCallback, ProgressCallback, get_scheduler
from transformers.trainer_utils import SaveStrategy

from rosetune._files import write_json, write_json_lines
from rosetune._torch import world_size
from rosetune.arguments import build_augmentation, build_averaging
from rosetune.augmentation import AugmentedDataset
from rosetune.data.adversarial import add_adversarial_rows
from rosetune.data.rows import TaskData
from rosetune.data.summary import summarise
from rosetune.data.tasks import find_task
from rosetune.experiments.average import check_averaging
from rosetune.experiments.callbacks import (
    LogFile,
    LogWithCheckpoint,
    PlainProgress,
    Progress,
    StepTimer,
    TimedCheckpoint,
    log_lines,
)
from rosetune.experiments.errors import reworded
from rosetune.experiments.lengths import cut_texts
from rosetune.experiments.models import load_classifier, load_tokenizer, save_trained
from rosetune.experiments.quick import check_length
from rosetune.experiments.ranges import check_ranges
from rosetune.experiments.training_rows import training_rows
from rosetune.methods import TracedMask
from rosetune.methods._layers import freeze_below
from rosetune.robustness.metrics import classification_metrics, regression_metrics
from rosetune.runs.config import RUN_DEFAULTS, RunConfig
from rosetune.runs.values import RunError, as_mapping
from rosetune.trainer import RobustTrainer, RobustTrainingArguments

__all__ = ["Training", "training_arguments", "training_defaults"]

# What a checkpoint can be chosen by; the first is the default.
_SELECTION_METRICS = {
    "classification": ("accuracy", "f1", "mcc", "loss"),
    "regression": ("mse", "pearson", "spearman", "loss"),
}


def training_defaults() -> dict[str, Any]:
    """The Trainer's own defaults by name."""
    return {field.name: field.default for field in dataclasses.fields(RobustTrainingArguments)}


def training_arguments(config: RunConfig) -> RobustTrainingArguments:
    """The Trainer's arguments for a run, but for its folder; method and options are checked here.

    Raises:
        RunError: an argument that is unknown, or that a run decides itself.
        ValueError: from the Trainer or the method.
    """
    given = config.training
    unknown = sorted(given.keys() - training_defaults().keys())
    if unknown:
        raise RunError(f"unknown training argument {unknown[0]!r}: rosetune train --help-all lists all of them")
    check_ranges(given)
    if given.get("resume_from_checkpoint") is not None:
        raise RunError("resume_from_checkpoint is not needed: a run resumes by itself when the same command is given")
    if given.get("save_only_model"):
        raise RunError(
            "save_only_model leaves checkpoints that a killed run cannot go on from: leave it out; at the end they "
            "are deleted anyway unless save_total_limit is given"
        )
    defaults = {**RUN_DEFAULTS, "dataloader_pin_memory": torch.cuda.is_available()}
    defaults["disable_tqdm"] = not sys.stderr.isatty()  # a bar in a log file is a line of megabytes
    if config.validation_from_train is not None:
        saving = given.get("save_strategy", "steps")
        defaults["eval_strategy"] = saving if saving in ("steps", "epoch") else "steps"
        allowed = _SELECTION_METRICS["regression" if is_regression(config) else "classification"]
        metric = str(given.get("metric_for_best_model") or allowed[0]).removeprefix("eval_")
        if metric not in allowed:
            raise RunError(f"metric_for_best_model must be one of {', '.join(allowed)}, not {metric!r}")
        defaults |= {"load_best_model_at_end": True, "metric_for_best_model": metric}
        defaults |= {"greater_is_better": False} if metric == "mse" else {}
        defaults |= {"eval_steps": given.get("save_steps", 500), "save_steps": given.get("eval_steps", 500)}
    elif given.get("load_best_model_at_end") or given.get("eval_strategy", "no") != "no":
        raise RunError(
            "choosing a checkpoint needs validation_from_train, a share of the training data (such as 0.1) to choose "
            "on: nothing is chosen on the sets that are reported"
        )
    with reworded(Exception):
        args = RobustTrainingArguments(**{**defaults, **given, "output_dir": given.get("output_dir", "runs")})
    _check_numbers(args)
    check_averaging(config, build_averaging(args))
    if world_size() > args.world_size:  # as transformers has it of torchrun on a machine without a GPU
        raise RunError(
            f"{world_size()} processes were started, but each would train by itself: give --use_cpu true, or start one"
        )
    return args


def _check_numbers(args: RobustTrainingArguments) -> None:
    """What the Trainer would find out in the middle of its work, and say in Python's words."""
    check_length(args.num_train_epochs, args.max_steps)
    if args.optim_args and not all("=" in part for part in args.optim_args.split(",")):
        raise RunError(f"optim_args must be such as momentum=0.9,nesterov=true, not {args.optim_args!r}")
    if args.dataloader_num_workers and args.dataloader_prefetch_factor == 0:
        raise RunError("dataloader_prefetch_factor must be at least 1, not 0")
    for name in ("mlflow", "dagshub", "neptune"):  # whose callback, half made, prints a traceback
        if name in (args.report_to or ()) and find_spec(name) is None:
            raise RunError(f"report_to {name} requires {name} to be installed. Run `pip install {name}`")
    if args.torch_compile_mode is not None:
        with reworded(RuntimeError):
            torch.compile(torch.nn.Identity(), mode=args.torch_compile_mode)  # compiles nothing yet
    stand_in = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    with reworded(TypeError):
        get_scheduler(
            args.lr_scheduler_type, stand_in, 0, 1, as_mapping("lr_scheduler_kwargs", args.lr_scheduler_kwargs)
        )


def is_regression(config: RunConfig) -> bool:
    """Whether a run predicts a number, as far as that is known before its data is read."""
    known = find_task(config.task)
    return config.task_type == "regression" or (known is not None and known.task_type == "regression")


class Training:
    """The trainer of one run, from the pre-trained model to the files of its folder.

    Attributes:
        summary: what was read, for the person who waits.

    Raises:
        RunError: the model cannot be loaded, or too little data is left to train on.
    """

    def __init__(self, config: RunConfig, data: TaskData, args: RobustTrainingArguments) -> None:
        tokenizer = load_tokenizer(config.model_name_or_path, config.max_length, config.normalize)
        own, held_out = training_rows(config, data, args.seed)
        train = own
        if config.adversarial_file is not None:
            train = add_adversarial_rows(own, config.adversarial_file, data, held_out)
            note = f"{len(train) - len(own):,} adversarial rows of {config.adversarial_file} are trained on too"
            data = dataclasses.replace(data, notes=(*data.notes, note))
        _follow_length(args, config.training, len(train))
        saving = [TimedCheckpoint()] if _saves_by_the_clock(config) else []
        if saving:
            args.save_strategy = SaveStrategy.NO  # of the Trainer's own, by steps
        encoded: Any = _encode(train, data.text_columns, tokenizer)
        kept = [len(ids) for ids in encoded["input_ids"][:]]
        cut = cut_texts(tokenizer, train, data.text_columns, tokenizer.model_max_length, kept)
        of = "--max_length" if tokenizer.model_max_length == config.max_length else "the most that the model takes"
        said = "" if cut is None else cut.sentence("training texts", of)
        if cut is not None and cut.cut > cut.total / 2:  # the model learns from something else than the texts
            said = f"warning: {said}"
        self.summary = dataclasses.replace(summarise(data, own), truncation=said)
        augmentation = build_augmentation(args)
        if augmentation is not None:
            encoded = AugmentedDataset(train, data.text_columns, tokenizer, augmentation, seed=args.seed)
        self._rows = len(train)
        self._timer, self._log = StepTimer(), LogFile(Path(str(args.output_dir)) / "log.jsonl")
        with reworded(RuntimeError):
            self.trainer = RobustTrainer(
                model_init=lambda: _model(config, data, tokenizer),
                args=args,
                train_dataset=encoded,
                eval_dataset=None if held_out is None else _encode(held_out, data.text_columns, tokenizer),
                processing_class=tokenizer,
                data_collator=DataCollatorWithPadding(tokenizer),
                preprocess_logits_for_metrics=lambda logits, _: logits[0] if isinstance(logits, tuple) else logits,
                compute_metrics=lambda p: _selection_metrics(p.label_ids, p.predictions, data.labels),
                callbacks=[LogWithCheckpoint(), *saving, self._timer, self._log],
            )
        if self.trainer.is_fsdp_enabled or self.trainer.is_deepspeed_enabled:
            raise RunError(
                "a run's checkpoints and model are whole files, which FSDP and DeepSpeed do not write: launch without "
                "them (accelerate launch --multi_gpu), or train with rosetune.RobustTrainer in a script, on FSDP2"
            )
        self.trainer.remove_callback(PrinterCallback)
        self._progress = None if self.trainer.pop_callback(ProgressCallback) is None else Progress()
        if self._progress is not None:
            self.trainer.add_callback(self._progress)
        elif "disable_tqdm" not in config.training:
            self.trainer.add_callback(PlainProgress())

    def run(self, checkpoint: Path | None) -> None:
        """Train to the end, from a checkpoint where there is one."""
        self._timer.resume(checkpoint)
        try:
            with reworded():
                self.trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
        finally:
            if self._progress is not None:
                self._progress.close()
        self._resumed_from = None if checkpoint is None else checkpoint.name

    @property
    def step_seconds(self) -> list[float]:
        """Of each optimizer step."""
        return list(self._timer.seconds)

    def chosen(self) -> str | None:
        """Which checkpoint is reported, where a held-out share has chosen it."""
        state = self.trainer.state
        if not self.trainer.args.load_best_model_at_end or state.best_model_checkpoint is None:
            return None
        name = str(self.trainer.args.metric_for_best_model).removeprefix("eval_")
        best = Path(state.best_model_checkpoint).name.removeprefix("checkpoint-")
        return f"step {best} of {state.global_step}, {name} {state.best_metric:.4f} on the held-out share"

    def write(self, folder: Path) -> None:
        """Log, mask trace, timing and, last, the model: its presence means that training is done."""
        write_json_lines(folder / "log.jsonl", log_lines(self.trainer.state.log_history))
        mask = self.trainer.update_mask
        if isinstance(mask, TracedMask) and mask.trace is not None:
            mask.trace.save(folder / "mask_trace.npz")
        write_json(folder / "timing.json", self._timing())
        model = self.trainer.accelerator.unwrap_model(self.trainer.model)
        save_trained(model, self.trainer.processing_class, folder / "model")

    def _timing(self) -> dict[str, Any]:
        steps = self._timer.seconds
        # On a CPU: of a machine that others use too, the seconds by the clock say little.
        computing = self._timer.cpu_seconds if self.trainer.args.device.type == "cpu" else []
        return {
            "training_seconds": sum(steps),
            "steps": len(steps),
            "rows": self._rows,
            "median_step_seconds": statistics.median(steps) if steps else None,
            "median_step_cpu_seconds": statistics.median(computing) if computing else None,
            "resumed_from": self._resumed_from,
        }


def _model(config: RunConfig, data: TaskData, tokenizer: Any) -> Any:
    """What is trained, with those weights frozen that are to stay."""
    model = load_classifier(
        config.model_name_or_path,
        data.labels,
        tokenizer,
        task_type=data.task_type,
        model_kwargs=config.model_kwargs,
    )
    if config.trained_layers is not None:
        freeze_below(model, config.trained_layers)
    return model


def _saves_by_the_clock(config: RunConfig) -> bool:
    """Whether checkpoints are there for a kill alone: nobody has said which, nor chooses among them."""
    asked = {"save_steps", "save_strategy", "save_total_limit"} & config.training.keys()
    chooses = config.validation_from_train is not None
    return not (asked or chooses or config.training.get("logging_strategy") == "no")


def _follow_length(args: RobustTrainingArguments, given: dict[str, Any], rows: int) -> None:
    """About twenty log lines a run, and ten checkpoints where some are asked for, whatever its length."""
    batch = args.train_batch_size * args.gradient_accumulation_steps * args.world_size
    total = args.max_steps if args.max_steps > 0 else math.ceil(math.ceil(rows / batch) * args.num_train_epochs)
    if "logging_steps" not in given:
        args.logging_steps = max(1, total // 20)
    args.save_steps = given.get("save_steps", given.get("eval_steps", max(1, total // 10)))
    args.eval_steps = given.get("eval_steps", args.save_steps)


def _encode(dataset: Dataset, text_columns: tuple[str, ...], tokenizer: Any) -> Dataset:
    encoded = tokenizer(*(dataset[column][:] for column in text_columns), truncation=True)
    return Dataset.from_dict({**encoded, "labels": dataset["label"][:]})


def _selection_metrics(gold: Any, predicted: Any, labels: tuple[str, ...]) -> dict[str, Any]:
    if labels:
        return classification_metrics(gold.tolist(), predicted, labels)
    return regression_metrics(gold, predicted.reshape(-1))
