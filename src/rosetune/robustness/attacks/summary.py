"""Figures from the results of attacks, and what adversarial examples do to models that they were not made for."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from rosetune.robustness.attacks.victim import Victim

__all__ = ["summary", "transfer"]

AT_ONCE = 1024  # texts


def summary(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What an attack achieved.

        clean accuracy            (successes + failures) / rows
        accuracy under attack     failures / rows
        attack success rate       successes / (successes + failures): of the rows that the model gets right

    Args:
        results: of one attack, from :func:`rosetune.robustness.attacks.run.attack`.

    Returns:
        ``n``, ``attacked``, ``succeeded``, ``clean_accuracy``, ``accuracy_under_attack``, ``attack_success_rate``,
        ``mean_queries`` (of the attacked rows, the unchanged text included) and ``mean_share_changed`` (share of the
        attacked text's words, of the successes). What has no row to be a mean of is None.

    Raises:
        ValueError: no results.
    """
    if not results:
        raise ValueError("no results")
    attacked = [result for result in results if result["status"] != "skipped"]
    successes = [result for result in attacked if result["status"] == "success"]
    return {
        "n": len(results),
        "attacked": len(attacked),
        "succeeded": len(successes),
        "clean_accuracy": len(attacked) / len(results),
        "accuracy_under_attack": (len(attacked) - len(successes)) / len(results),
        "attack_success_rate": _mean(result["status"] == "success" for result in attacked),
        "mean_queries": _mean(result["queries"] for result in attacked),
        "mean_share_changed": _mean(len(result["changes"]) / result["words"] for result in successes),
    }


def transfer(
    results: Mapping[str, Sequence[Mapping[str, Any]]], victims: Mapping[str, "Victim"]
) -> dict[str, dict[str, dict[str, Any]]]:
    """Attack every model with the adversarial examples of every other.

    A search by confidence stalls on a model whose confidence is flat, though it need not be robust: then few examples
    are found against it, but those found against others mislead it.

    Args:
        results: by the name of the model that was attacked.
        victims: the models to try the examples on, by name.

    Returns:
        By source, then by target: ``n``, the number of adversarial examples that succeeded against the source and
        whose unchanged text the target gets right; ``fooled``, the share of them that mislead the target (None of
        none); ``rows``, and ``accuracy``, the target's share of right predictions over all of the source's perturbed
        texts, where the unchanged one stands for a row that the source gets wrong.
    """
    matrix: dict[str, dict[str, dict[str, Any]]] = {source: {} for source in results}
    for target, victim in victims.items():
        texts = dict.fromkeys(
            tuple(result[kind]) for part in results.values() for result in part for kind in ("texts", "perturbed")
        )
        predicted = _predictions(victim, list(texts))
        for source, part in results.items():
            right = [predicted[tuple(result["perturbed"])] == result["gold"] for result in part]
            counted = [
                ok
                for ok, result in zip(right, part, strict=True)
                if result["status"] == "success" and predicted[tuple(result["texts"])] == result["gold"]
            ]
            matrix[source][target] = {
                "n": len(counted),
                "fooled": _mean(not ok for ok in counted),
                "rows": len(part),
                "accuracy": _mean(right),
            }
    return matrix


def _predictions(victim: "Victim", texts: Sequence[tuple[str, ...]]) -> dict[tuple[str, ...], int]:
    predicted: dict[tuple[str, ...], int] = {}
    for start in range(0, len(texts), AT_ONCE):
        chosen = texts[start : start + AT_ONCE]
        predicted.update(zip(chosen, np.asarray(victim(chosen)).argmax(axis=1).tolist(), strict=True))
    return predicted


def _mean(values: Iterable[float]) -> float | None:
    found = list(values)
    return sum(found) / len(found) if found else None
