"""Figures from the results of attacks, and what adversarial examples do to models that they were not made for."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from rosetune.robustness.attacks.changed_words import changed_words
from rosetune.robustness.rows import clusters_of
from rosetune.robustness.statistics import Estimate, estimate

if TYPE_CHECKING:
    from rosetune.robustness.classifier import Victim

__all__ = ["Transferred", "summary", "transfer", "vain"]

AT_ONCE = 1024  # texts


def summary(
    results: Sequence[Mapping[str, Any]], budget: int | None = None, labels: Sequence[str] = ()
) -> dict[str, Any]:
    """What an attack achieved.

        clean accuracy            (successes + failures) / rows
        accuracy under attack     failures / rows
        attack success rate       successes / (successes + failures): of the rows that the model gets right

    Args:
        results: of one attack, from :func:`rosetune.robustness.attacks.run.attack`. Where they have an
            ``original_id``, rows that stem from one original are drawn together in the intervals.
        budget: of the attack.
        labels: names of the classes, for figures by class.

    Returns:
        ``n``, ``attacked`` (the rows that the model gets right), ``succeeded``, ``clean_accuracy``,
        ``nothing_to_change`` and ``out_of_budget`` (failures without a word to replace, of which only the unchanged
        text was asked, and failures that spent all queries: neither says that the model is robust),
        ``accuracy_under_attack`` and ``attack_success_rate`` with their 95 % intervals ``..._low`` and ``..._high``.
        Of the attacked rows ``mean_queries`` and ``median_queries`` (the unchanged text included), and
        ``mean_confidence_before`` and ``mean_confidence_after``, the probability of the right label for the unchanged
        and the perturbed text. Of the successes ``mean_words_changed`` and ``mean_share_changed`` (of the attacked
        text's words; a word that was added counts as one). What has no row to be computed from is None.
        ``at_most_words``: see :func:`~rosetune.robustness.attacks.changed_words.changed_words`. With labels
        ``by_class``: of the rows of each class that has some ``n``, ``attacked``, ``succeeded``, ``clean_accuracy``,
        and ``accuracy_under_attack`` and ``attack_success_rate`` with their intervals.

    With a target class a success is a text that the model takes for that class; one that it takes for a third has
    failed, and counts as withstood.

    Raises:
        ValueError: no results.
    """
    if not results:
        raise ValueError("no results")
    attacked = [result for result in results if result["status"] != "skipped"]
    successes = [result for result in attacked if result["status"] == "success"]
    failures = [result for result in attacked if result["status"] == "failed"]
    queries = [result["queries"] for result in attacked]
    parts = {label: [result for result in results if result["gold"] == i] for i, label in enumerate(labels)}
    return {
        **_shares(results),
        "nothing_to_change": sum(result["queries"] == 1 for result in failures),
        "out_of_budget": sum(result["queries"] == budget and budget > 1 for result in failures) if budget else 0,
        "mean_queries": _mean(queries),
        "median_queries": float(median(queries)) if queries else None,
        "mean_confidence_before": _mean(result["probabilities"][result["gold"]] for result in attacked),
        "mean_confidence_after": _mean(result["perturbed_probabilities"][result["gold"]] for result in attacked),
        "mean_words_changed": _mean(len(result["changes"]) for result in successes),
        "mean_share_changed": _mean(len(result["changes"]) / max(result["words"], 1) for result in successes),
        "at_most_words": changed_words(results),
        **({"by_class": {label: _shares(part) for label, part in parts.items() if part}} if labels else {}),
    }


def vain(figures: Mapping[str, Any], adds_words: bool = False) -> str:
    """Rows that withstood an attack and say nothing of the model: how many, and why; empty where there are none.

    Args:
        figures: from :func:`summary`, with the attack's budget.
        adds_words: whether the attack adds words; then it needs room in what the model reads of a text.
    """
    room = "no room for a word in what the model reads (--max_length)" if adds_words else "no word to change"
    reasons = ("nothing_to_change", f"had {room}"), ("out_of_budget", "used up the budget")
    counts = [f"{figures[key]} {said}" for key, said in reasons if figures[key]]
    withstood = figures["attacked"] - figures["succeeded"]
    return f"of {withstood} rows that withstood, {' and '.join(counts)}" if counts else ""


def _shares(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Numbers of rows, and the shares that are made of them."""
    attacked = [result for result in results if result["status"] != "skipped"]
    return {
        "n": len(results),
        "attacked": len(attacked),
        "succeeded": sum(result["status"] == "success" for result in results),
        "clean_accuracy": len(attacked) / len(results),
        **_share("accuracy_under_attack", results, "failed"),
        **_share("attack_success_rate", attacked, "success"),
    }


@dataclass(frozen=True)
class Transferred:
    """What the adversarial examples found on one model, the source, do to another, the target.

    Attributes:
        fooled: of the examples that succeeded against the source and whose unchanged text the target gets right, the
            share that misleads the target, of an attack with a target class to that class; None where there are none.
        accuracy: the target's share of right predictions over all of the source's perturbed texts, where the unchanged
            one stands for a row that the source gets wrong; None without rows.
    """

    fooled: Estimate | None
    accuracy: Estimate | None


def transfer(
    results: Mapping[str, Sequence[Mapping[str, Any]]], victims: Mapping[str, "Victim"]
) -> dict[str, dict[str, Transferred]]:
    """Attack every model with the adversarial examples of every other.

    A search by confidence stalls on a model whose confidence is flat, though it need not be robust: then few examples
    are found against it, but those found against others mislead it.

    Args:
        results: by the name of the model that was attacked.
        victims: the models to try the examples on, by name.

    Returns:
        By source, then by target.
    """
    matrix: dict[str, dict[str, Transferred]] = {source: {} for source in results}
    for target, victim in victims.items():
        texts = dict.fromkeys(
            tuple(result[kind]) for part in results.values() for result in part for kind in ("texts", "perturbed")
        )
        predicted = _predictions(victim, list(texts))
        for source, part in results.items():
            said = [predicted[tuple(result["perturbed"])] for result in part]
            right = [label == result["gold"] for label, result in zip(said, part, strict=True)]
            counted = [
                (label, result)
                for label, result in zip(said, part, strict=True)
                if result["status"] == "success" and predicted[tuple(result["texts"])] == result["gold"]
            ]
            misled = [label == result.get("target", label) != result["gold"] for label, result in counted]
            fooled = _estimate(misled, [result for _, result in counted])
            matrix[source][target] = Transferred(fooled, _estimate(right, part))
    return matrix


def _predictions(victim: "Victim", texts: Sequence[tuple[str, ...]]) -> dict[tuple[str, ...], int]:
    predicted: dict[tuple[str, ...], int] = {}
    for start in range(0, len(texts), AT_ONCE):
        chosen = texts[start : start + AT_ONCE]
        predicted.update(zip(chosen, np.asarray(victim(chosen)).argmax(axis=1).tolist(), strict=True))
    return predicted


def _share(name: str, results: Sequence[Mapping[str, Any]], status: str) -> dict[str, float | None]:
    """The share of the results with that status, and its interval."""
    if not results:
        return {name: None, f"{name}_low": None, f"{name}_high": None}
    found = estimate([result["status"] == status for result in results], clusters=clusters_of(results))
    return {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}


def _estimate(values: Sequence[bool], results: Sequence[Mapping[str, Any]]) -> Estimate | None:
    return estimate(values, clusters=clusters_of(results)) if values else None


def _mean(values: Iterable[float]) -> float | None:
    found = list(values)
    return sum(found) / len(found) if found else None
