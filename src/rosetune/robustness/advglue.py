"""AdvGLUE in detail: by attack, beside the unperturbed originals, and as its official and the paper's score."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from rosetune.data.tasks import find_task
from rosetune.robustness.metrics import accuracy
from rosetune.robustness.rows import clusters_of
from rosetune.robustness.statistics import Difference, Estimate, difference, estimate

if TYPE_CHECKING:
    from datasets import Dataset

__all__ = [
    "AdvGlueReport",
    "Share",
    "Slice",
    "advglue_report",
    "average_and_drop",
    "official_score",
    "originals",
]

Row = Mapping[str, Any]
BY_HAND = "human"  # the kind of items that people wrote


@dataclass(frozen=True)
class Share(Estimate):
    """Accuracy of n items, for whose interval items of the same original are drawn together.

    Attributes:
        originals: how many different originals the items stem from, as far as they are known.
        by_hand: items that people wrote, which stem from no original.
        unknown: items whose original is not known, as in the plain edition. They count as independent, so that the
            interval is too narrow.
    """

    originals: int
    by_hand: int
    unknown: int


@dataclass(frozen=True)
class Slice:
    """The items of one attack, of one kind of attack, or all.

    Attributes:
        adversarial: accuracy on the perturbed items.
        original: accuracy on the originals of those items that have one; None where none has.
        change: of the same items, perturbed minus original: ``only_a`` items are right before the perturbation and
            wrong after it, ``only_b`` the other way round.
        success_rate: share of the items with a rightly classified original whose perturbation misleads the model;
            None without any.
    """

    adversarial: Share
    original: Share | None = None
    change: Difference | None = None
    success_rate: float | None = None


@dataclass(frozen=True)
class AdvGlueReport:
    """All items; by kind (word, sentence, human); and by attack, named "kind/method": CheckList is of two kinds.

    What is not annotated, as in the plain edition, is of the kind and method "unknown".
    """

    total: Slice
    by_kind: dict[str, Slice]
    by_method: dict[str, Slice]

    def as_json(self) -> dict[str, Any]:
        """As ``metrics.json`` keeps it."""
        groups = {"by_kind": self.by_kind, "by_method": self.by_method}
        slices = {name: {key: _as_json(part) for key, part in group.items()} for name, group in groups.items()}
        return {"total": _as_json(self.total), **slices}


def originals(dataset: "Dataset", text_columns: Sequence[str]) -> "Dataset":
    """The unperturbed originals as an evaluation set: one row per item that has one, under the item's own id.

    A row keeps the item's label: the attacks are meant to leave it as it was. Items that share an original each keep
    their own copy, since the copies are tokenised differently.

    Args:
        dataset: from :func:`~rosetune.data.advglue.load_advglue`.
        text_columns: of the task.

    Raises:
        ValueError: the data set has no columns ``original_<text column>``.
    """
    columns = [f"original_{column}" for column in text_columns]
    missing = [column for column in columns if column not in dataset.column_names]
    if missing:
        raise ValueError(f"the data set has no column {missing}; it has {dataset.column_names}")
    kept = [i for i, texts in enumerate(zip(*(dataset[c][:] for c in columns), strict=True)) if None not in texts]
    rows = dataset.select(kept).remove_columns(list(text_columns))
    return rows.rename_columns(dict(zip(columns, text_columns, strict=True)))


def advglue_report(rows: Sequence[Row], original_rows: Sequence[Row] = ()) -> AdvGlueReport:
    """Accuracy on one AdvGLUE set as a whole, by kind and by attack, and beside the originals where they are given.

    Args:
        rows: prediction rows of the perturbed items; rows without a gold label do not count.
        original_rows: prediction rows of :func:`originals`, paired with the items by id.

    Raises:
        ValueError: no labelled row, several sets in one argument, an id that occurs twice, or an original that has no
            item or another gold label than its item.
    """
    items, before = _by_id(rows, "items"), _by_id(original_rows, "originals")
    if not items:
        raise ValueError("no row has a gold label")
    for key, row in before.items():
        if key not in items or items[key]["gold"] != row["gold"]:
            raise ValueError(f"the original {key!r} belongs to no item, or has another gold label than its item")

    def grouped(name: Callable[[Row], str]) -> dict[str, Slice]:
        groups: dict[str, list[Any]] = {}
        for key, row in items.items():
            groups.setdefault(name(row), []).append(key)
        return {group: _slice(items, before, keys) for group, keys in sorted(groups.items())}

    return AdvGlueReport(_slice(items, before, list(items)), grouped(_kind), grouped(_method))


def official_score(task: str, sets: Mapping[str, Sequence[Row]]) -> float:
    """AdvGLUE's own score of a task, in [0, 1]; its score of a model is the mean over its five tasks.

        QQP: mean of accuracy and F1 of "duplicate"; MNLI: mean of the accuracies of both parts; else accuracy

    The ROSE paper reports plain accuracy throughout: :attr:`AdvGlueReport.total`.

    Args:
        task: a task's name.
        sets: prediction rows by evaluation set, "advglue" and for MNLI "advglue_mismatched"; others are not looked at.

    Raises:
        ValueError: AdvGLUE does not cover the task, or a part of it is missing or has no gold label.

    Reference:
        Wang et al., Adversarial GLUE, NeurIPS 2021, and the evaluation script of its repository.
    """
    known = find_task(task)
    if known is None or not known.advglue:
        raise ValueError(f"AdvGLUE does not cover the task {task!r}")
    scores = []
    for part in known.advglue:
        rows = _by_id(sets.get(part.split, ()), part.split).values()
        if not rows:
            raise ValueError(f"the official score of {known.name} needs labelled rows of {part.split}")
        gold, predicted = [row["gold"] for row in rows], [row["prediction"] for row in rows]
        score = accuracy(gold, predicted)
        scores.append((score + _f1(gold, predicted, known.labels[1])) / 2 if known.name == "qqp" else score)
    return sum(scores) / len(scores)


def average_and_drop(clean: Mapping[str, float], adversarial: Mapping[str, float]) -> tuple[float, float]:
    """The last two columns of the ROSE paper's Table 1.

        average = mean over tasks of (clean + adversarial) / 2,    drop = mean over tasks of (clean - adversarial)

    The drop is one of accuracy on GLUE's development set to accuracy on AdvGLUE's: other sentences, of which AdvGLUE
    chose those that fool a model. :attr:`Slice.change` compares the same sentences. The paper averages over SST-2,
    RTE, QNLI and QQP. A model at chance on both has no drop at all.

    Args:
        clean, adversarial: accuracy by task, in one unit.

    Raises:
        ValueError: no tasks, or not the same.
    """
    if not clean or clean.keys() != adversarial.keys():
        raise ValueError(f"the same tasks are needed on both sides, not {sorted(clean)} and {sorted(adversarial)}")
    average = sum(clean[task] + adversarial[task] for task in clean) / (2 * len(clean))
    return average, sum(clean[task] - adversarial[task] for task in clean) / len(clean)


def _slice(items: Mapping[Any, Row], before: Mapping[Any, Row], keys: Sequence[Any]) -> Slice:
    paired = [key for key in keys if key in before]
    adversarial = _share(items, keys, items)
    if not paired:
        return Slice(adversarial)
    change = difference(
        [_right(before[key]) for key in paired],
        [_right(items[key]) for key in paired],
        clusters=clusters_of([items[key] for key in paired]),
    )
    right = sum(_right(before[key]) for key in paired)
    return Slice(adversarial, _share(before, paired, items), change, change.only_a / right if right else None)


def _share(rows: Mapping[Any, Row], keys: Sequence[Any], items: Mapping[Any, Row]) -> Share:
    here = [items[key] for key in keys]
    found = estimate([_right(rows[key]) for key in keys], clusters=clusters_of(here))
    originals = {row["original_id"] for row in here if row.get("original_id") is not None}
    orphans = [row for row in here if row.get("original_id") is None]
    by_hand = sum(_kind(row) == BY_HAND for row in orphans)
    return Share(**asdict(found), originals=len(originals), by_hand=by_hand, unknown=len(orphans) - by_hand)


def _as_json(part: Slice) -> dict[str, Any]:
    def share(found: Share | None) -> dict[str, Any] | None:
        if found is None:
            return None
        own: dict[str, Any] = {"n": found.n, "originals": found.originals, "accuracy": found.value}
        own |= {name: count for name in ("by_hand", "unknown") if (count := getattr(found, name))}
        return {**own, "low": found.low, "high": found.high}

    d = part.change
    change: dict[str, Any] | None = None
    if d is not None:
        change = {
            "difference": d.value,
            "low": d.low,
            "high": d.high,
            "n": d.n,
            "only_a": d.only_a,
            "only_b": d.only_b,
        }
        change |= {"p_value": d.p, "p_b_better": d.p_b_better, "p_a_better": d.p_a_better}
    shares = {"adversarial": share(part.adversarial), "original": share(part.original)}
    return {**shares, "change": change, "success_rate": part.success_rate}


def _by_id(rows: Sequence[Row], what: str) -> dict[Any, Row]:
    if len({row["set"] for row in rows}) > 1:
        raise ValueError(f"{what} of several sets: {sorted({row['set'] for row in rows})}")
    by_id = {row["id"]: row for row in rows}
    if len(by_id) < len(rows):
        raise ValueError(f"an id occurs more than once in the {what}")
    return {key: row for key, row in by_id.items() if row["gold"] is not None}


def _right(row: Row) -> bool:
    return bool(row["gold"] == row["prediction"])


def _kind(item: Row) -> str:
    return item.get("data_construction") or "unknown"


def _method(item: Row) -> str:
    return f"{_kind(item)}/{item.get('method') or 'unknown'}"


def _f1(gold: Sequence[str], predicted: Sequence[str], positive: str) -> float:
    # A file of the user's may spell the labels in another case.
    gold, predicted = ([label.casefold() for label in labels] for labels in (gold, predicted))
    hits = sum(g == p == positive for g, p in zip(gold, predicted, strict=True))
    named = gold.count(positive) + predicted.count(positive)
    return 2 * hits / named if named else 0.0
