"""Models and tokenizers: for a task, as somebody has trained them, and kept."""

import os
from collections.abc import Mapping, Sequence
from functools import cache
from logging import Filter, LogRecord
from pathlib import Path
from typing import Any

from rosetune._files import replacing
from rosetune.experiments.loading import config_of, load, model_options, skeleton
from rosetune.robustness.classifier import NO_TOKENIZER, knows_no_word
from rosetune.robustness.evaluation import input_names, longest_input
from rosetune.robustness.functions import read_function
from rosetune.robustness.normalization import normalizing, read_steps
from rosetune.runs.values import RunError

__all__ = [
    "is_unnamed",
    "load_classifier",
    "load_pretrained",
    "load_tokenizer",
    "load_trained",
    "quiet_libraries",
    "save_trained",
    "trained_labels",
]


def load_tokenizer(name: str, max_length: int | None = None, normalize: Sequence[str] | None = None) -> Any:
    """The tokenizer of a hub id, a folder, or "demo", with what its model does not take left out.

    One without a padding token pads with its end token. Segments are left out for a model that knows one only.

    Args:
        normalize: what is undone in every text before it is tokenised, see
            :data:`~rosetune.robustness.normalization.STEPS`; None: as the model's folder has it.
        max_length: tokens of a text; fewer where the tokenizer or the model's position embeddings allow fewer.

    Raises:
        RunError: it cannot be loaded, is not there, or has more tokens than the model has embeddings.
    """
    from transformers import AutoTokenizer

    model = skeleton(name)
    tokenizer = _fitted(name, load(AutoTokenizer, name), model)
    if normalize is not None:
        tokenizer = normalizing(tokenizer, normalize)
    if max_length is not None:
        tokenizer.model_max_length = min(max_length, longest_input(model, tokenizer) or max_length)
    return tokenizer


def load_classifier(
    name: str,
    labels: Sequence[str],
    tokenizer: Any,
    *,
    task_type: str = "classification",
    model_kwargs: Mapping[str, Any] | None = None,
) -> Any:
    """A model to train on these labels, in float32; its head is new where the checkpoint has none of that size.

    A trained head whose classes are the labels in another order is brought into their order. One whose classes have
    other names, or none, is kept as it is, which is said on standard error.

    Args:
        labels: in the order of the task; none for a regression.
        task_type: "classification", or "regression" with one output and the mean squared error.
        model_kwargs: fields of the model's configuration, such as {"classifier_dropout": 0.0}; "dtype" keeps the
            weights in another precision.

    Raises:
        RunError: the model cannot be loaded, lacks most of its weights or does not know an option.
    """
    from transformers import AutoConfig, AutoModelForSequenceClassification

    if task_type == "regression":
        head = {"num_labels": 1, "problem_type": "regression"}
    else:
        # A checkpoint's own problem_type, such as multi-label, would choose another loss.
        head = {"num_labels": len(labels), "problem_type": "single_label_classification"}
        head |= {"id2label": dict(enumerate(labels)), "label2id": {label: i for i, label in enumerate(labels)}}
    before = config_of(name)
    options = model_options(name, before, model_kwargs or {})
    dtype = options.pop("dtype", "float32")
    config = load(AutoConfig, name, **options, **head)
    for option, value in options.items():
        if not hasattr(config, option):  # DeBERTa's cls_dropout: from_pretrained sets only what is there
            setattr(config, option, value)
    model, info = load(
        AutoModelForSequenceClassification,
        name,
        config=config,
        dtype=dtype,
        ignore_mismatched_sizes=True,
        output_loading_info=True,
    )
    mismatched = {key for key, *_ in info["mismatched_keys"]}
    fresh = {*info["missing_keys"], *mismatched}
    own = {key for key in model.state_dict() if key.startswith(f"{model.base_model_prefix}.")}
    if 2 * len(fresh & own) > len(own):
        raise RunError(
            f"{name!r} holds {len(own) - len(fresh & own)} of the {len(own)} weights of a {type(model).__name__} "
            "without its head; the rest would be random: give a checkpoint of that architecture"
        )
    if mismatched & own:
        raise RunError(
            f"{name!r} holds weights of other sizes than its configuration says ({_some(mismatched & own)}), which "
            "would be random: leave that option out of model_kwargs, or give another checkpoint"
        )
    if mismatched:
        classes = ", ".join(_label_names(before))
        _say_once(
            f"{name}: its trained head has other outputs ({classes}) than the data asks for: a new one is trained"
        )
    if task_type != "regression" and fresh <= own:
        _align_head(name, model, _label_names(before), tuple(labels))
    if model.config.pad_token_id is None:
        model.config.pad_token_id = tokenizer.pad_token_id
    return model


def load_trained(
    run: str | os.PathLike[str], attn_implementation: str | None = None
) -> tuple[Any, Any, tuple[str, ...]]:
    """Model, tokenizer and label names of a run's folder, any folder with a saved classifier, or a hub id.

    The model is on the GPU where there is one. Weights in half precision are computed with in float32, in which what
    else is in the batch does not move the logits.

    Args:
        attn_implementation: "eager" where attention must be differentiated twice.

    Returns:
        A regression model has no label names.

    Raises:
        RunError: there is no model, its head is not trained, or two of its labels have one name.
    """
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    name = _trained_source(run)
    attention = {} if attn_implementation is None else {"attn_implementation": attn_implementation}
    model, info = load(AutoModelForSequenceClassification, name, output_loading_info=True, **attention)
    if info["missing_keys"]:
        raise RunError(
            f"{run} holds no trained classifier: {_some(info['missing_keys'])} would be random; fine-tune it with "
            "`rosetune train`, or give a model that was trained to classify texts"
        )
    if model.dtype in (torch.float16, torch.bfloat16) and not hasattr(model.config, "quantization_config"):
        model.float()
    tokenizer = _fitted(str(run), load(AutoTokenizer, name), model)
    if model.config.pad_token_id is None:
        model.config.pad_token_id = tokenizer.pad_token_id
    return model.to("cuda" if torch.cuda.is_available() else "cpu"), tokenizer, _trained_labels(run, model.config)


def load_pretrained(name: str, num_labels: int) -> tuple[Any, set[str]]:
    """A pre-trained model as a classifier, and which of its weights are new, whatever the global random state.

    Raises:
        RunError: it cannot be loaded.
    """
    import torch
    from transformers import AutoModelForSequenceClassification

    with torch.random.fork_rng():
        model, info = load(
            AutoModelForSequenceClassification,
            name,
            dtype="float32",
            num_labels=num_labels,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    return model, {*info["missing_keys"], *(key for key, *_ in info["mismatched_keys"])}


def trained_labels(run: str | os.PathLike[str]) -> tuple[str, ...]:
    """The label names of a trained model, in the order of its logits; none for a regression.

    Raises:
        RunError: there is no model in the folder, or two of its labels have one name.
    """
    return _trained_labels(run, config_of(_trained_source(run)))


def is_unnamed(labels: Sequence[str]) -> bool:
    """Whether label names are those that transformers makes up: LABEL_0, LABEL_1, ..."""
    return len(labels) > 0 and all(label == f"LABEL_{i}" for i, label in enumerate(labels))


def save_trained(model: Any, tokenizer: Any, folder: Path) -> None:
    """``save_pretrained`` of both, whole or not at all."""
    with replacing(folder) as partial:
        model.save_pretrained(partial)
        tokenizer.save_pretrained(partial)


def quiet_libraries() -> None:
    """No progress bars for what takes a second (loading, saving, mapping); the Trainer's own stays.

    Nor two lines of the Trainer: that checkpoints which were saved within a second are sorted by their numbers, which
    is their order; and that the model's configuration has taken over BOS and EOS from the tokenizer, which no
    classifier reads. Another padding token is news.
    """
    import datasets
    from transformers import trainer_utils
    from transformers.utils import logging

    logging.disable_progress_bar()
    datasets.disable_progress_bars()
    trainer_utils.logger.addFilter(_NEWS)  # the same filter is added once


class _News(Filter):
    def filter(self, record: LogRecord) -> bool:
        said = record.getMessage()
        tokens = said.startswith("The tokenizer has new PAD/BOS/EOS tokens") and "pad_token_id" not in said
        return not (tokens or said.startswith("mtime may not be reliable"))


_NEWS = _News()


def _fitted(name: str, tokenizer: Any, model: Any) -> Any:
    """A tokenizer that gives what its model takes."""
    folder = Path(name).expanduser()
    try:
        steps = read_steps(folder) or read_steps(folder / "model")
    except ValueError as error:
        raise RunError(str(error)) from error
    if knows_no_word(tokenizer):
        raise RunError(f"{name!r} {NO_TOKENIZER}")
    if steps:
        tokenizer = normalizing(tokenizer, steps)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    taken = input_names(model, tokenizer)
    if taken != tokenizer.model_input_names:
        tokenizer.model_input_names = taken
    try:
        embedded = getattr(model.get_input_embeddings(), "num_embeddings", None)
    except NotImplementedError:  # CANINE, which hashes characters
        embedded = None
    if embedded is not None and len(tokenizer) > embedded:
        raise RunError(
            f"the tokenizer of {name!r} has {len(tokenizer)} tokens, its model embeds {embedded}: give the tokenizer "
            "that belongs to it, or call model.resize_token_embeddings(len(tokenizer)) and save both"
        )
    return tokenizer


def _trained_source(run: str | os.PathLike[str]) -> str:
    folder = Path(run).expanduser()
    about = read_function(folder)
    if about is not None:
        raise RunError(
            f"{run} is the function {about['callable']}, which has no weights to look at: evaluate, attack, compare, "
            "gate, predict and report work on it"
        )
    if folder.is_dir() and not any((part / "config.json").is_file() for part in (folder, folder / "model")):
        raise RunError(f"{run} holds no trained model (no model/config.json): give the folder of a finished run")
    saved = folder / "model"
    if (saved / "config.json").is_file() and not any(
        [*saved.glob("*.safetensors"), *saved.glob("pytorch_model*.bin")]
    ):
        raise RunError(
            f"{run} no longer has its weights (no model/*.safetensors); what was computed before can still be "
            "shown: train it again, or bring its model folder back"
        )
    return os.fspath(run)


def _trained_labels(run: str | os.PathLike[str], config: Any) -> tuple[str, ...]:
    labels = () if config.num_labels == 1 else _label_names(config)
    twice = sorted({label for label in labels if labels.count(label) > 1})
    if twice:
        raise RunError(f"{run} has several labels called {twice[0]!r}: give each a name of its own in its config.json")
    return labels


def _label_names(config: Any) -> tuple[str, ...]:
    return tuple(str(config.id2label.get(i, f"LABEL_{i}")) for i in range(config.num_labels))


def _align_head(name: str, model: Any, classes: tuple[str, ...], labels: tuple[str, ...]) -> None:
    """Bring the rows of a trained head, which are in the order of its own classes, into the order of the labels."""
    import torch

    old, new = ([label.casefold().strip() for label in names] for names in (classes, labels))
    if old == new:
        return
    if {*old} != {*new} or len({*old}) < len(old):
        pairs = ", ".join(f"{a} as {b}" for a, b in zip(classes, labels, strict=True))
        names = "no names" if is_unnamed(classes) else "other names"
        made = next((kind for kind in model.config.architectures or () if "ForSequenceClassification" not in kind), "")
        of = f", that of a {made}," if made else ""  # for tagging has weights of the same names and sizes
        _say_once(f"{name}: its trained head{of} is kept, whose classes have {names}; they are taken as {pairs}")
        return
    prefix = f"{model.base_model_prefix}."
    outside = (m for key, m in model.named_modules() if not key.startswith(prefix))
    outputs = [m for m in outside if isinstance(m, torch.nn.Linear) and m.out_features == len(labels)]
    if not outputs:
        raise RunError(
            f"the head of {name!r} ({type(model).__name__}) has its classes in the order {', '.join(classes)}, the "
            f"data in {', '.join(labels)}, and it cannot be reordered: rename the labels so that they sort like that"
        )
    order = [old.index(label) for label in new]
    with torch.no_grad():
        for parameter in outputs[-1].parameters():  # the last one: a dense layer before it may be as wide
            parameter.copy_(parameter[order].clone())


def _some(keys: set[str] | Sequence[str], shown: int = 4) -> str:
    ordered = sorted(keys)
    return ", ".join(ordered[:shown]) + (f" and {len(ordered) - shown} more" if len(ordered) > shown else "")


@cache
def _say_once(line: str) -> None:
    """The Trainer loads its model twice."""
    import sys

    if os.environ.get("RANK", "0") == "0":
        print(line, file=sys.stderr)
