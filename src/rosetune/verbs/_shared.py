"""What several verbs share."""

import argparse

TASKS_HELP = "a task's name (see `rosetune list tasks`), a CSV, JSON Lines or Parquet file or folder, or a hub id"
SETS_HELP = "of clean, noise, noise_curve, advglue (default: clean,noise)"
_MOVED = ("task", "data_dir", "validation_file", "test_file")


def add_moved(parser: argparse.ArgumentParser) -> None:
    """Flags for where a run's data lies now."""
    group = parser.add_argument_group("where the data lies now, if it has moved since training")
    for name in _MOVED:
        group.add_argument(f"--{name}", metavar="DIR" if name == "data_dir" else "FILE")


def moved_data(known: argparse.Namespace) -> dict[str, str | None]:
    """What was given for them."""
    return {name: getattr(known, name) for name in _MOVED}
