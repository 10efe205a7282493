"""What came of evaluating or attacking a model in hand: rows per example, and tables of them."""

from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from rosetune.robustness.attacks.run import attack_row
from rosetune.robustness.attacks.summary import summary
from rosetune.robustness.rows import set_metrics

__all__ = ["AttackResult", "Evaluation"]

SCORES = ("set", "kind", "n", "accuracy", "low", "high", "f1", "mcc", "constant", "ece", "brier")
REGRESSION_SCORES = ("set", "kind", "n", "mse", "low", "high", "pearson", "spearman", "constant")


@dataclass(frozen=True)
class Evaluation:
    """What a model predicted on each set.

    Attributes:
        rows: prediction rows by set, see :func:`~rosetune.robustness.rows.prediction_rows`.
        labels: class names in the order of the logits; none of a regression.
        kinds: the kind of each set.
    """

    rows: dict[str, list[dict[str, Any]]]
    labels: tuple[str, ...]
    kinds: dict[str, str]

    def scores(self) -> pd.DataFrame:
        """A row per set, in shares (not percent).

        Returns:
            The columns set, kind, n, accuracy with its 95% interval low and high, f1, mcc, constant (the accuracy of
            the best constant prediction), ece and brier; of a regression set, kind, n, mse with its interval, pearson,
            spearman and constant (the mse of the mean). See :func:`~rosetune.robustness.rows.set_metrics`.
        """
        rows = []
        for name, part in self.rows.items():
            metrics = set_metrics(part, self.labels)
            constant = {"constant": metrics["constant"]["accuracy" if self.labels else "mse"]}
            rows.append(
                {"set": name, "kind": self.kinds[name], **metrics, **metrics.get("calibration", {}), **constant}
            )
        return pd.DataFrame(rows, columns=list(SCORES if self.labels else REGRESSION_SCORES))


@dataclass(frozen=True)
class AttackResult:
    """What came of an attack on a model in hand.

    Attributes:
        name: of the attack.
        results: one per attacked text, see :func:`rosetune.robustness.attacks.run.attack`.
        labels: class names.
        budget: of the attack.
        recipe: what it was in full, as JSON can hold it: search, transformation (synonyms as a digest) and the
            constraints that were used, such as ``recipe["constraints"]["max_share"]``.
        attack_class, target_class: the class whose texts were attacked, and the one to be reached; None: any.
        not_attacked: labelled texts that were left out for their class.
    """

    name: str
    results: list[dict[str, Any]]
    labels: tuple[str, ...]
    budget: int | None
    recipe: dict[str, Any] = field(default_factory=dict)
    attack_class: str | None = None
    target_class: str | None = None
    not_attacked: int = 0

    @property
    def max_share(self) -> float | None:
        """The largest share of a text's words that could change; None: no limit."""
        return self.recipe.get("constraints", {}).get("max_share")

    @property
    def protected(self) -> tuple[str, ...]:
        """The regular expressions whose matches were never changed."""
        return tuple(self.recipe.get("constraints", {}).get("protected", ()))

    @property
    def summary(self) -> dict[str, Any]:
        """Accuracy under attack and success rate with their intervals, also by class, queries, words changed and more.

        See :func:`rosetune.robustness.attacks.summary.summary`; with ``not_attacked``.
        """
        return {**summary(self.results, self.budget, self.labels), "not_attacked": self.not_attacked}

    @property
    def rows(self) -> dict[str, list[dict[str, Any]]]:
        """As rows for :func:`compare`: a text is "robust", "broken", or "wrong" before the attack."""
        name = f"attack:{self.name}"
        return {name: [attack_row(name, result) for result in self.results]}

    def examples(self) -> pd.DataFrame:
        """A row per attacked text.

        Returns:
            The columns id, status ("success", "failed", or "skipped" where the model was wrong before), gold,
            prediction, perturbed_prediction, original and perturbed (the text that was attacked, before and after),
            other (of pairs, the text that stayed), words_changed and queries.
        """
        rows = []
        for result in self.results:
            at, texts = result["column"], result["texts"]
            label = {key: self.labels[result[key]] for key in ("gold", "prediction", "perturbed_prediction")}
            text = {"original": texts[at], "perturbed": result["perturbed"][at]}
            other = {"other": texts[1 - at]} if len(texts) > 1 else {}
            counts = {"words_changed": len(result["changes"]), "queries": result["queries"]}
            rows.append({"id": result["id"], "status": result["status"], **label, **text, **other, **counts})
        return pd.DataFrame(rows)
