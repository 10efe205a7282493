"""What tells one run from another: its method's name, its training arguments, and files by what is in them."""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rosetune.robustness.functions import is_function_name, source_hash, source_of

__all__ = [
    "LABEL_CHANGES",
    "file_hash",
    "folder_name",
    "identity_hash",
    "method_name",
    "model_identity",
    "model_title",
    "task_name",
    "training_identity",
    "value_text",
    "with_absolute_paths",
]

# Training arguments that change where or how a run is written down, not what comes out of it.
_WRITING_DOWN = re.compile(
    "output_dir|logging_.*|log_.*|save_.*|report_to|run_name|disable_tqdm|push_to_hub|hub_.*|project|trackio_.*|"
    "dataloader_(?!drop_last).*|per_device_eval_batch_size|do_.*|skip_memory_metrics|include_num_input_tokens_seen"
)
# Training arguments that may name a file of options.
_FILES = ("deepspeed", "fsdp_config", "accelerator_config")
# By averaging the option that its name tells, with its default.
_AVERAGED_BY = {"ema": ("decay", 0.99), "checkpoints": ("last", 5), "pretrained": ("alpha", 0.5)}
LABEL_CHANGES = ("imbalance", "label_noise")  # what was done to the labels to train on
_WEIGHTS = (".safetensors", ".bin", ".json", ".txt", ".model")


def method_name(training: Mapping[str, Any]) -> str:
    """A short name of what is chosen on each axis, from the training arguments; see :meth:`RunConfig.method`."""
    objective = training.get("objective", "cross_entropy")
    options = training.get("objective_kwargs") or {}
    mask = training.get("update_mask")
    kind = {"rose": ("order", "ensemble"), "child_tuning": ("mode", "D")}.get(mask or "")
    if kind is not None:
        mask = f"{mask}-{(training.get('update_mask_kwargs') or {}).get(*kind)}"
    if objective == "cross_entropy":
        named = ("label_smoothing", "passes")  # a control must not pass for the baseline
        objective = "+".join(f"{name}-{options[name]}" for name in named if isinstance(options.get(name), int | float))
    elif "variant" in options:
        dash = "" if options["variant"] == "++" else "-"  # FreeLB++
        objective = f"{objective}{dash}{options['variant']}"
    averaging = training.get("averaging")
    if averaging in _AVERAGED_BY:  # runs that differ in this alone stand side by side
        option, default = _AVERAGED_BY[averaging]
        averaging = f"{averaging}-{(training.get('averaging_kwargs') or {}).get(option, default)}"
    axes = (objective, mask, training.get("augmentation"), averaging)
    return "+".join(filter(None, axes)).replace("_", "-").lower() or "vanilla"


def training_identity(training: Mapping[str, Any], defaults: Mapping[str, Any], *, chooses: bool) -> dict[str, Any]:
    """The training arguments that decide a result: neither defaults, nor where and how things are written down.

    Args:
        defaults: of the training arguments.
        chooses: whether a checkpoint is chosen among those that are saved, or some of them are averaged, so that
            saving decides too.
    """
    return {
        name: _by_content(value, name)
        for name, value in sorted(training.items())
        if value != defaults.get(name)
        and (not _WRITING_DOWN.fullmatch(name) or (chooses and name in ("save_steps", "save_strategy")))
    }


def identity_hash(identity: Mapping[str, Any]) -> str:
    """Twelve hexadecimal digits, for a folder's name."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:12]


def folder_name(task: str) -> str:
    """A task's name, or a file's or hub dataset's, as the name of one folder."""
    return re.sub(r"[^\w.+-]+", "-", Path(task).stem if Path(task).exists() else task).strip("-.") or "task"


def task_name(identity: Mapping[str, Any]) -> str:
    """A run's task: with changed training labels it is another one, as "sst2 (imbalance=0.1)".

    A method with rare or flipped labels is to be set against a baseline that learned from the same ones.
    """
    changed = {name: value for name in LABEL_CHANGES if (value := identity.get(name)) is not None}
    told = ", ".join(f"{name}={value_text(value)}" for name, value in changed.items())
    return f"{identity['task']} ({told})" if told else str(identity["task"])


def value_text(value: Any) -> str:
    """The value of an option for a person; of a file's hash the first digits."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return re.sub(r"\b([0-9a-f]{8})[0-9a-f]{8,}\b", r"\1", text.removeprefix("sha256:"))


def model_title(name: str) -> str:
    """A model's name without folders, as a table calls it."""
    return re.split(r"[/\\]", name.rstrip("/\\"))[-1]


def model_identity(name: str) -> str:
    """A model's name, for a folder a hash of its weights, configuration and tokenizer, for a function also its source.

    Raises:
        ValueError: a function whose module is not there.
    """
    if is_function_name(name):
        return f"{name} sha256:{source_hash(source_of(name))}"
    folder = Path(name).expanduser()
    if name == "demo" or not folder.is_dir():
        return name
    if not (folder / "config.json").is_file() and (folder / "model").is_dir():
        folder /= "model"  # of a run, whose own files change with every evaluation
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.iterdir() if p.suffix in _WEIGHTS and p.is_file()):
        digest.update(f"{path.name}:{file_hash(path)}\n".encode())
    return f"sha256:{digest.hexdigest()}"


def with_absolute_paths(value: Any, name: str = "") -> Any:
    """A training argument with the absolute path of each file that it is, or that is among its options."""
    if name in _FILES and _is_file(value):
        return str(Path(value).resolve())
    if not isinstance(value, Mapping):
        return value
    return {name: str(Path(part).resolve()) if _is_file(part) else part for name, part in value.items()}


def file_hash(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _by_content(value: Any, name: str) -> Any:
    """A training argument with the hash of each file (a trace, synonyms, DeepSpeed's options) in place of its path."""
    if name in _FILES and _is_file(value):
        return f"sha256:{file_hash(Path(value))}"
    if not isinstance(value, Mapping):
        return value
    return {name: f"sha256:{file_hash(Path(part))}" if _is_file(part) else part for name, part in value.items()}


def _is_file(value: Any) -> bool:
    return isinstance(value, str) and Path(value).is_file()
