"""Accuracy under an attack by the number of words that it changed."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rosetune.robustness.rows import clusters_of
from rosetune.robustness.statistics import estimate

__all__ = ["AT_MOST", "changed_words", "limit_title", "within"]

# Changed words, as a number or a share of the text's words, at which accuracy under attack is read.
AT_MOST = ("1", "2", "3", "10%", "20%")


def within(result: Mapping[str, Any], at_most: str) -> bool:
    """Whether the attack misled the model by changing at most so many words of a text.

    Args:
        result: of one text, from :func:`rosetune.robustness.attacks.run.attack`.
        at_most: a number of words such as "2", or a share of the words of the text such as "10%". Of a text with fewer
            than ten words 10% allow no change.

    Raises:
        ValueError: neither of these.
    """
    number, share = _limit(at_most)
    if result["status"] != "success":
        return False
    return len(result["changes"]) <= (number * result["words"] / 100 if share else number) + 1e-9


def limit_title(at_most: str) -> str:
    """A limit as a person says it: "1 word", "2 words", "10% of words"."""
    if at_most.endswith("%"):
        return f"{at_most} of words"
    return f"{at_most} word{'' if at_most == '1' else 's'}"


def changed_words(
    results: Sequence[Mapping[str, Any]], limits: Iterable[str] = AT_MOST
) -> dict[str, dict[str, float]]:
    """Accuracy under an attack of at most k changed words, read off an attack without that limit.

        (rows that are right before - those that the attack misled with at most k changed words) / rows

    It is an upper bound of the accuracy at k: the searches are greedy and stop at the first text that misleads the
    model, so that another search may find a shorter change where this one needed more than k words, or found none.

    Args:
        results: of one attack.
        limits: see :func:`within`.

    Returns:
        By limit ``value`` and its 95% interval ``low``, ``high``.

    Raises:
        ValueError: no results, or no such limit.
    """
    found = {}
    for limit in limits:
        kept = [result["status"] != "skipped" and not within(result, limit) for result in results]
        share = estimate(kept, clusters=clusters_of(results))
        found[limit] = {"value": share.value, "low": share.low, "high": share.high}
    return found


def _limit(at_most: str) -> tuple[float, bool]:
    share = at_most.endswith("%")
    try:
        number = float(at_most.removesuffix("%")) if share else int(at_most)
    except ValueError:
        number = -1
    if not (0 < number <= 100 if share else number > 0):
        raise ValueError(f"at most so many changed words: a number such as 2, or a share such as 10%, not {at_most!r}")
    return number, share
