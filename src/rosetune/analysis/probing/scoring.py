"""What a probe says."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

__all__ = ["LEARNT", "PARTS", "Preference", "Probes", "matthews"]

PARTS = ("ambiguous", "linguistic", "surface")  # what a run is trained on, for each seed
LEARNT = 0.7  # Matthews correlation from which on a control counts as learnt; our choice


def matthews(gold: Sequence[int], predicted: Sequence[int]) -> float:
    """Matthews correlation of two-valued labels; 0 where one of them never changes.

    (TP TN - FP FN) / sqrt((TP + FP) (TP + FN) (TN + FP) (TN + FN))
    """
    g, p = np.asarray(gold, dtype=float), np.asarray(predicted, dtype=float)
    spread = g.std() * p.std()
    return float(((g - g.mean()) * (p - p.mean())).mean() / spread) if spread else 0.0


class Preference(NamedTuple):
    """One model family's probe: Matthews correlations on the ambiguous part and on both controls.

    Attributes:
        score: 1 for syntax alone, -1 for the surface alone, 0 for neither.
        linguistic, surface: of the controls.
        agreeing: of the ambiguous model, on held-out rows in which both features say the same.
    """

    score: float
    linguistic: float
    surface: float
    agreeing: float

    @property
    def readable(self) -> bool:
        """Whether both features can be learnt, and the model has learnt its own task.

        Else the score tells nothing: a model that has learnt nothing scores 0 too, as one that prefers neither.
        """
        return all(learnt >= LEARNT for learnt in (self.linguistic, self.surface, self.agreeing))


Probes = Mapping[str, Mapping[str, Mapping[int, Preference]]]
"""By the name of the surface feature, the method and the seed."""
