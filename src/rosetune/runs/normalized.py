"""The baseline behind a normalisation of its texts, without training: a control of a claim on disguised texts."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from rosetune.robustness.attacks.transformations import DISGUISES
from rosetune.runs.identity import model_identity
from rosetune.runs.run import Run
from rosetune.runs.sets import SetName

__all__ = ["NormalizedBaseline", "is_normalized", "meets_disguises", "normalized_baseline", "same_weights"]

# What decides which texts a model is asked about, and what it sees of them; the rest is about training.
_READING = ("task", "text_columns", "data_fingerprint", "max_length", "held_out")


@dataclass(frozen=True)
class NormalizedBaseline(Run):
    """A given run with a baseline's weights; it counts as a run of that baseline's seed.

    Attributes:
        of: the run of the baseline.
    """

    of: Run

    @property
    def seed(self) -> int | None:
        """Of the baseline's training."""
        return self.of.seed


def is_normalized(run: Run) -> bool:
    """Whether it is a model that was not trained here, behind a normalisation."""
    return run.config.given and run.config.normalize is not None


def normalized_baseline(run: Run, baseline: Sequence[Run]) -> NormalizedBaseline | None:
    """The run as a control, if it was made of one of these: of its folder, or of the model that it was given as.

    It is made by ``rosetune evaluate --model_name_or_path BASELINE --task TASK --normalize all``. Weights, data and
    length must be the same; a training has no part in it.

    Returns:
        None, where it was not.
    """
    if not is_normalized(run):
        return None
    model = run.identity["model_name_or_path"]
    for own in baseline:
        alike = all(own.identity.get(name) == run.identity.get(name) for name in _READING)
        same = own.config.given and own.config.normalize is None and own.identity["model_name_or_path"] == model
        if alike and (same or ((own.folder / "model").is_dir() and model_identity(str(own.folder)) == model)):
            return NormalizedBaseline(run.folder, own)
    return None


def same_weights(a: Run, b: Run) -> bool:
    """Whether one of two runs is the other behind a normalisation of its texts, see :func:`normalized_baseline`."""
    return any(normalized_baseline(run, [other]) is not None for run, other in ((a, b), (b, a)))


def meets_disguises(names: Collection[str]) -> bool:
    """Whether some of these sets hold disguised texts, which a normalisation may undo."""
    parsed = [SetName.parse(name) for name in names]
    return any(part.noise in DISGUISES or (part.attack or "").startswith("disguises") for part in parsed)
