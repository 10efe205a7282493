"""Evaluate, attack and compare a model in hand, without a folder."""

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from rosetune.data.split import shuffled
from rosetune.data.synonyms import load_synonyms
from rosetune.robustness.attacks.additions import read_words
from rosetune.robustness.attacks.driver import Row
from rosetune.robustness.attacks.recipes import ADDED_WORDS, build_recipe
from rosetune.robustness.attacks.run import attack as run_attack
from rosetune.robustness.attacks.run import described, differing
from rosetune.robustness.classifier import Classifier, as_classifier
from rosetune.robustness.examples import TEXT_COLUMNS, class_names, read_examples, with_gold
from rosetune.robustness.results import AttackResult, Evaluation
from rosetune.robustness.rows import compare_rows, prediction_rows
from rosetune.robustness.sets import sets_of_clean

if TYPE_CHECKING:
    from datasets import Dataset

__all__ = ["attack", "compare", "evaluate"]

Rows = Sequence[Mapping[str, Any]]


def evaluate(
    model: Any,
    tokenizer: Any = None,
    texts: Any = None,
    labels: Any = None,
    *,
    sets: Sequence[str] | str = ("clean", "noise"),
    label_names: Sequence[str] | None = None,
    batch_size: int | None = None,
    seed: int = 0,
    noises: Sequence[str] | None = None,
) -> Evaluation:
    """Evaluate a model in hand on its texts as they are, and under noise.

    Args:
        model, tokenizer, batch_size: see :func:`~rosetune.robustness.classifier.as_classifier`: a transformers model
            and its tokenizer, a pipeline, or a function from a list of texts to probabilities.
        texts: a list of strings, a list of pairs of strings, or a data set with the columns ``text``, of pairs
            ``text_pair``, and ``label``.
        labels: one per text: class names, or numbers in the order of the model's outputs (of a data set that names its
            classes: in that order); of a regression any numbers. None and -1 (of a regression None) are unlabelled.
            Left out: the data set's.
        sets: kinds of sets: "clean"; "noise", typing errors of two strengths; "noise_curve", eight noises at four
            strengths.
        label_names: class names in the order of the model's outputs, where it has none of its own or others than the
            labels.
        seed: of the noise.
        noises: of the noise curve, by the names of :data:`~rosetune.robustness.noise.NOISES`, "ocr" at every strength
            or "ocr@0.5" at one; None: the eight.

    Raises:
        ValueError: a model, texts or labels that do not fit, in one line that says what to do.

    Example:
        pipe = transformers.pipeline("text-classification", "my-model")
        result = rosetune.evaluate(pipe, texts=["a superb film", "dull"], labels=["positive", "negative"])
        print(result.scores())
    """
    kinds = dict.fromkeys(kind.strip() for kind in (sets.split(",") if isinstance(sets, str) else sets))
    if not kinds:
        raise ValueError("sets names no kind: give some of clean, noise, noise_curve")
    classifier, dataset, names = _read(model, tokenizer, texts, labels, label_names, batch_size)
    columns = [name for name in TEXT_COLUMNS if name in dataset.column_names]
    rows, kind_of = {}, {}
    for kind, parts in [(kind, sets_of_clean(dataset, columns, kind, seed, noises)) for kind in kinds]:
        for name, part in parts.items():
            logits = classifier.logits(_texts(part))
            rows[name], kind_of[name] = prediction_rows(name, part, logits, names), kind
    return Evaluation(rows, names, kind_of)


def attack(
    model: Any,
    tokenizer: Any = None,
    texts: Any = None,
    labels: Any = None,
    *,
    attack: str = "deepwordbug",
    synonyms: Any = None,
    budget: int | None = 1000,
    seed: int = 0,
    examples: int | None = 200,
    column: int = -1,
    attack_class: str | int | None = None,
    target_class: str | int | None = None,
    words: Any = None,
    added_words: int = ADDED_WORDS,
    noises: Sequence[str] | None = None,
    max_share: float | None = None,
    protected: Sequence[str] = (),
    label_names: Sequence[str] | None = None,
    batch_size: int | None = None,
) -> AttackResult:
    """Attack a model in hand: which texts can be changed so that it is misled?

    Args:
        model, tokenizer, texts, labels, label_names, batch_size: as in :func:`evaluate`.
        attack: "deepwordbug", "random" (its control), "disguises", with words "benign_append" and "benign_prepend", or
            with synonyms "pwws", "genetic", "textfooler".
        synonyms: a dict from words to synonyms, the path of such a JSON file, or "wordnet".
        budget: largest number of texts that the model is asked about for one, the unchanged one included; None: no
            limit.
        seed: of the choice of texts and of the attack.
        examples: number of texts to attack, drawn at random; None: all that have a label.
        column: which text of a pair is attacked, 0 or 1; the last one by default.
        attack_class: name or number of the class whose texts are attacked, such as "harmful"; None: of any.
        target_class: name or number of the class to be reached; None: any but the right one.
        words: what benign_append and benign_prepend may add: words, the path of a file with a word a line, or what
            :func:`~rosetune.robustness.attacks.additions.benign_words` finds in training texts.
        added_words: the largest number of them.
        noises: what disguises uses, see :class:`~rosetune.robustness.attacks.transformations.Disguises`; None: the
            five disguises.
        max_share: of a text's words that may change, or be added; None: as the attack has it.
        protected: regular expressions; a word that a match touches is never changed.

    Raises:
        ValueError: as :func:`evaluate`; an unknown attack or class, missing synonyms or words, a regression, or an
            option out of range.
        DataError: a file of synonyms that cannot be read.

    Example:
        result = rosetune.attack(pipe, texts=texts, labels=labels, budget=200)
        print(result.summary["accuracy_under_attack"])
        result.examples()
    """
    if examples is not None and examples < 1:
        raise ValueError(f"examples must be at least 1, not {examples}")
    known = load_synonyms(synonyms) if synonyms is not None and not isinstance(synonyms, Mapping) else synonyms
    added = read_words(os.fspath(words)) if isinstance(words, str | os.PathLike) else words
    limits: dict[str, Any] = {"max_share": max_share, "protected": tuple(protected), "noises": noises}
    limits |= {"words": added, "added_words": added_words}
    build_recipe(attack, known, **limits)  # what is wrong with it is said before any work
    classifier, dataset, names = _read(model, tokenizer, texts, labels, label_names, batch_size)
    recipe = build_recipe(attack, known, unk=getattr(classifier, "unk_token", None), **limits)
    if not names:
        raise ValueError("a regression model has no label that an attack could change")
    golds, ids = dataset["label"][:], dataset["id"][:]
    own, aim = (_class(names, label) for label in (attack_class, target_class))
    labelled = [at for at, gold in enumerate(golds) if gold is not None]
    kept = [at for at in labelled if golds[at] != aim and own in (None, golds[at])]
    if not kept:
        raise ValueError("no text is of the class that is to be attacked: give others, or another attack_class")
    place: dict[tuple[str, ...], int] = {(str(ids[at]),): at for at in kept}
    chosen = [place[key] for key in shuffled([*place], seed)][:examples]
    all_texts = _texts(dataset)
    rows = [Row(ids[at], all_texts[at], golds[at]) for at in chosen]
    results = run_attack(classifier, rows, recipe, budget=budget, seed=seed, column=column, target=aim)
    if "original_id" in dataset.column_names:
        originals = dataset["original_id"][:]
        results = [{**result, "original_id": originals[at]} for result, at in zip(results, chosen, strict=True)]
    one, other = (None if at is None else names[at] for at in (own, aim))
    return AttackResult(
        attack, results, names, budget, described(recipe), one, other, not_attacked=len(labelled) - len(kept)
    )


def compare(a: Any, b: Any) -> pd.DataFrame:
    """Is model b better than model a? One row per set, on the same examples.

    Args:
        a, b: of the same texts: what :func:`evaluate` or :func:`attack` returned, or prediction rows by set.

    Returns:
        The columns set, n, a and b (accuracy; of a regression mse), difference (by how much b is better) with its 95%
        interval low and high, p (two-sided), and verdict: 1 where b is shown to be better, -1 where it is shown to be
        worse, 0 where neither is shown; see :class:`~rosetune.robustness.statistics.Difference`. A set that only one
        side has gets a row without numbers.

    Raises:
        ValueError: no common set, other examples on either side, or attacks with other budgets, limits or synonyms.

    Example:
        before, after = (rosetune.evaluate(pipe, texts=texts, labels=labels) for pipe in (plain, robust))
        rosetune.compare(before, after)
    """
    side_a, side_b = (_sides(side) for side in (a, b))
    if isinstance(a, AttackResult) and isinstance(b, AttackResult):
        _check_same_attack(a, b)
    if not side_a.keys() & side_b.keys():
        raise ValueError(f"no set is on both sides: {', '.join(side_a)} on a, {', '.join(side_b)} on b")
    rows: list[dict[str, Any]] = []
    for name in dict.fromkeys((*side_a, *side_b)):
        if name not in side_a or name not in side_b:
            rows.append({"set": name})
            continue
        try:
            d = compare_rows(side_a[name], side_b[name])
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
        numbers = {"n": d.n, "a": d.a.value, "b": d.b.value, "difference": d.value, "low": d.low, "high": d.high}
        rows.append({"set": name, **numbers, "p": d.p, "verdict": d.verdict})
    columns = ("set", "n", "a", "b", "difference", "low", "high", "p", "verdict")
    return pd.DataFrame(rows, columns=list(columns)).astype({"n": "Int64", "verdict": "Int64"})


def _check_same_attack(a: AttackResult, b: AttackResult) -> None:
    if a.budget != b.budget:
        budgets = " and ".join("none" if side.budget is None else str(side.budget) for side in (a, b))
        raise ValueError(f"the two attacks had different budgets, {budgets}: attack both with the same")
    classes = [name for name in ("attack_class", "target_class") if getattr(a, name) != getattr(b, name)]
    other = [*differing(a.recipe, b.recipe), *classes]
    if a.name == b.name and other:
        raise ValueError(f"the two attacks are not the same: they differ in {', '.join(other)}; attack both alike")


def _read(
    model: Any, tokenizer: Any, texts: Any, labels: Any, label_names: Sequence[str] | None, batch_size: int | None
) -> tuple[Classifier, "Dataset", tuple[str, ...]]:
    """The model, its data with class indices, and the class names; it has answered to the first text."""
    classifier = as_classifier(model, tokenizer, labels=label_names, batch_size=batch_size)
    dataset = read_examples(texts, labels)
    classifier.logits(_texts(dataset.select([0])))
    named, names = with_gold(dataset, classifier.labels, class_names(texts))
    return classifier, named, names


def _class(names: Sequence[str], label: str | int | None) -> int | None:
    """The number of a class."""
    if label is None:
        return None
    number = names.index(label) if label in names else label
    if not isinstance(number, int) or not 0 <= number < len(names):
        raise ValueError(f"no class is called {label!r}: give one of {', '.join(names)}, or its number from 0")
    return number


def _texts(dataset: "Dataset") -> list[tuple[str, ...]]:
    return list(zip(*(dataset[name][:] for name in TEXT_COLUMNS if name in dataset.column_names), strict=True))


def _sides(side: Any) -> Mapping[str, Rows]:
    rows = getattr(side, "rows", side)
    if not isinstance(rows, Mapping) or not rows:
        raise ValueError(
            f"{type(side).__name__} is no evaluation: give what rosetune.evaluate returned, or rows by set"
        )
    return rows
