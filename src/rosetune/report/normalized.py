"""What both cards say of a model that reads its texts behind a normalisation."""

from collections.abc import Iterator

from rosetune.robustness.normalization import read_steps
from rosetune.runs.run import Run

__all__ = ["normalization_steps", "normalized_lines"]


def normalization_steps(run: Run) -> tuple[str, ...]:
    """The steps, see :data:`~rosetune.robustness.normalization.STEPS`, that a run's texts go through; none: no step.

    They are those that were asked for, or that the model brought along.

    Raises:
        ValueError: what the model's folder keeps of them is damaged.
    """
    return run.config.normalize or read_steps(run.folder / "model")


def normalized_lines(run: Run) -> Iterator[str]:
    """One line of Markdown that names the steps, and who does not apply them; nothing where there are none."""
    steps = normalization_steps(run)
    if steps:
        yield (
            f"These figures hold for texts that are normalised first ({', '.join(steps)}). `rosetune predict`, "
            "`rosetune.evaluate` and `rosetune.attack` do that, given this folder; plain transformers (`pipeline`, "
            "`AutoTokenizer`) does not.\n"
        )
