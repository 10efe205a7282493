"""Models that were trained elsewhere, and files that a run has not seen."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from rosetune.experiments.data import load_data
from rosetune.experiments.evaluate import evaluate_run
from rosetune.experiments.folder import claim_folder, holds, make_folder
from rosetune.experiments.lock import locked
from rosetune.experiments.models import load_classifier, load_tokenizer, load_trained, quiet_libraries, save_trained
from rosetune.runs.config import RunConfig
from rosetune.runs.values import RunError

__all__ = ["evaluate_given"]


def evaluate_given(config: RunConfig, report: Callable[[str], Any] = print) -> Path:
    """Make a run of a model that was trained elsewhere: evaluated, and kept in the folder, as if trained here.

    Args:
        config: with ``given``.
        report: takes a line of text for the person who waits.

    Returns:
        The run's folder.

    Raises:
        RunError: the model cannot be loaded, has no trained head, or other labels than the data.
        DataError: the data cannot be read.
    """
    quiet_libraries()
    data = load_data(config)
    identity = config.identity(
        task=data.name, text_columns=data.text_columns, fingerprint=data.fingerprint, defaults={}
    )
    folder = config.folder(identity)
    known = holds(folder, identity)
    make_folder(folder)
    with locked(folder):
        if not known or not (folder / "model").is_dir():
            tokenizer = load_tokenizer(config.model_name_or_path, config.max_length)
            _, _, labels = load_trained(config.model_name_or_path)
            _check_labels(config.model_name_or_path, labels, data.labels, report)
            claim_folder(folder, config, identity)
            model = load_classifier(config.model_name_or_path, data.labels, tokenizer)
            save_trained(model, tokenizer, folder / "model")
        evaluate_run(folder, data, config.sets, data_dir=config.data_dir)
    return folder


def _check_labels(name: str, own: tuple[str, ...], data: tuple[str, ...], report: Callable[[str], Any]) -> None:
    if len(own) != len(data):
        raise RunError(f"{name} tells apart {len(own)} labels ({', '.join(own)}), the data {len(data)}")
    if own == tuple(f"LABEL_{i}" for i in range(len(own))):
        pairs = ", ".join(f"{a} as {b}" for a, b in zip(own, data, strict=True))
        report(f"{name} does not name its labels; they are taken in the order of the data's: {pairs}")
    elif {*own} != {*data}:
        raise RunError(
            f"{name} tells apart {', '.join(own)}, the data {', '.join(data)}: give data with the same label names, "
            "or a model whose config.json names them (id2label)"
        )
