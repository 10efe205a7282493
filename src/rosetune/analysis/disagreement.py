"""How often two dropout passes of the same input predict different labels (Table 4 of the ROSE paper)."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from rosetune._torch import forward, keeping_modes, seeded
from rosetune.analysis.weights import Batch

__all__ = ["Disagreement", "dropout_disagreement"]


class Disagreement(NamedTuple):
    """Of some rows.

    Attributes:
        share: of rows whose two passes predict different labels, a mean over the pairs of passes.
        standard_error: of the share over the rows.
        rows: shape (pairs, rows), whether they differ.
    """

    share: float
    standard_error: float
    rows: np.ndarray


@torch.no_grad()
def dropout_disagreement(
    model: torch.nn.Module, batches: Sequence[Batch], pairs: int = 1, seed: int = 0
) -> Disagreement:
    """Two passes in train mode, whose dropout is drawn from a seed; random state and modes stay as they were.

    Args:
        batches: inputs, with or without ``labels``.
        pairs: of passes; the paper looks at one.

    Raises:
        ValueError: the two passes have the same logits in every row: no dropout acts; or the model has one output.
    """
    differ: list[np.ndarray] = []
    acts = False
    with seeded(model, seed), keeping_modes(model):
        model.train()
        for module in model.modules():
            if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
                module.eval()  # it would write down what it sees
        for _ in range(pairs):
            found = []
            for batch in batches:
                inputs = {name: value for name, value in batch.items() if name != "labels"}
                first, second = forward(model, inputs).logits, forward(model, inputs).logits
                if first.shape[-1] == 1:
                    raise ValueError("a model with one output predicts no labels that could differ")
                acts = acts or not torch.equal(first, second)
                found.append((first.argmax(-1) != second.argmax(-1)).cpu().numpy())
            differ.append(np.concatenate(found))
    if not acts:
        raise ValueError("two passes gave exactly the same logits: no dropout acts in this model")
    rows = np.stack(differ)
    each = rows.mean(axis=0)
    error = float(each.std(ddof=1) / np.sqrt(len(each))) if len(each) > 1 else float("nan")
    return Disagreement(float(rows.mean()), error, rows)
