"""What an error says of an option, in the words of a plan."""

import re

from rosetune.experiments.quick import trainer_defaults
from rosetune.runs.config import RUN_OPTIONS

__all__ = ["in_a_plan"]


def in_a_plan(error: object) -> str:
    """An error's text without the dashes of flags, which a plan has not; commands in backticks keep theirs."""
    parts = str(error).replace(" (a plan: data_dir)", "").split("`")
    parts[::2] = [re.sub(r"(?<![\w-])--(\w+)", _option, part) for part in parts[::2]]
    return "`".join(parts)


def _option(flag: re.Match[str]) -> str:
    return flag[1] if flag[1] in RUN_OPTIONS or flag[1] in trainer_defaults() else flag[0]
