"""The adversarial rows that a finished run yields, for other runs to train on."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from rosetune.data.adversarial import reported_texts
from rosetune.experiments.adversarial_options import AdversarialOptions
from rosetune.experiments.data import load_data
from rosetune.experiments.harden_rows import FoundRows, find_adversarial_rows
from rosetune.experiments.lock import locked
from rosetune.experiments.models import quiet_libraries
from rosetune.experiments.training_rows import training_rows
from rosetune.runs.config import RunConfig
from rosetune.runs.run import Run

__all__ = ["are_found", "rows_file", "yield_rows"]


def rows_file(folder: Path, options: AdversarialOptions) -> Path:
    """Where a run keeps the rows that these attacks find; others have a folder of their own."""
    return folder / "adversarial" / options.key() / "round-1.jsonl"


def are_found(folder: Path, options: AdversarialOptions) -> bool:
    """Whether the attacks came to their end."""
    file = rows_file(folder, options)
    return file.is_file() and file.with_suffix(".json").is_file()


def yield_rows(config: RunConfig, options: AdversarialOptions, say: Callable[[str], Any] = print) -> FoundRows:
    """Attack a finished run on some of the rows that it was trained on, and keep what fooled it in its folder.

    Args:
        config: of the run, with its folder.
        say: takes a line of text for the person who waits.

    Raises:
        RunError: the run is damaged.
        DataError: data or synonyms cannot be read.
        HeldError: another process works in the folder.
    """
    quiet_libraries()
    folder = Path(str(config.output_dir))
    run, data = Run.open(folder), load_data(config)
    whole = data if config.held_out is None else load_data(replace(config, held_out=None))
    train, held_out = training_rows(config, data, config.seed)
    with locked(folder):
        found = find_adversarial_rows(
            run,
            1,
            None,
            data=data,
            train=train,
            reported=reported_texts(whole) | reported_texts(data, held_out),
            options=options,
            folder=rows_file(folder, options).parent,
            say=say,
        )
    about = found.about
    say(f"{about['succeeded']} fooled the model, {about['added']} rows for others to train on: {found.file}")
    return found
