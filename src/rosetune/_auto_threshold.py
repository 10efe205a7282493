"""How many tensors ROSE keeps where nobody says: a rule on the risks of the step."""

import math
from collections.abc import Sequence

__all__ = ["AUTO", "auto_count"]

AUTO = "auto"
_SHARE = 0.5


def auto_count(risks: Sequence[float]) -> int:
    """The largest k such that the k lowest of n risks hold at most half of the squared risk, and at least one.

        r_(1)^2 + ... + r_(k)^2 <= (1/2 + 1e-9) (r_1^2 + ... + r_n^2)

    The first-order risks are norms of the parts of one gradient, so that their squares add up to the squared norm of
    the whole: a step within the kept tensors changes the consistency loss, to first order, by at most sqrt(1/2) of
    what a step as long in all of them can. This holds for keep="lowest", reduce="gradients" and normalize="norm",
    with finite risks. It does not where a tensor is kept only because at least one is. With keep="highest" the k
    highest are kept, and no such bound holds.

    What the step freezes are the few tensors that hold the other half. Equal risks give one half of the tensors, a
    few large ones most of them. Nothing is estimated, drawn or remembered, and ranks that agree on the risks agree on
    the number. A scale common to all risks does not matter.

    A risk that is no finite number is left out of both sums, and ranks last, whether the lowest or the highest are
    kept: it is none of the k unless no risk is finite. Where all risks are zero, all are
    kept.
    """
    squares = sorted(risk * risk for risk in risks if math.isfinite(risk))
    limit, held, count = (_SHARE + 1e-9) * math.fsum(squares), 0.0, 0
    for square in squares:
        held += square
        if held > limit:
            break
        count += 1
    return max(count, 1)
