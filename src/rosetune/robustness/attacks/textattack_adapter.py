"""Any attack recipe of TextAttack that asks a classifier for probabilities, with results as ``run`` keeps them.

TextAttack is imported when one is run, and not before.
"""

import importlib
import importlib.metadata
import importlib.util
import inspect
import logging
import random
import sys
import warnings
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import SequenceMatcher
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rosetune.robustness.attacks.driver import Row
from rosetune.robustness.attacks.run import attack_header, keep_results
from rosetune.robustness.attacks.text import Text

if TYPE_CHECKING:
    from rosetune.robustness.classifier import Victim

__all__ = ["attack_with_textattack", "import_textattack", "textattack_recipes"]

# What a recipe or its downloads raise cannot be known here: each call into TextAttack catches everything, and says in
# one line what failed.
PACKAGES = ("textattack==0.3.11", "flair==0.15.1", "transformer-smaller-training-vocab==0.4.2")
AT_ONCE = 512  # texts that the victim gets, where TextAttack has as many to ask about; its own default is 32


def attack_with_textattack(
    victim: "Victim",
    rows: Sequence[Row],
    name: str,
    *,
    budget: int | None = None,
    seed: int = 0,
    column: int = -1,
    path: str | Path | None = None,
    progress: bool = True,
) -> list[dict[str, Any]]:
    """:func:`~rosetune.robustness.attacks.run.attack` with a recipe of TextAttack; a row after the other.

    TextAttack draws from global generators: they are seeded for each row, by seed and id, and put back afterwards.

    Args:
        name: of a recipe's class, such as "DeepWordBugGao2018".
        budget: TextAttack's ``query_budget``.
        column: the texts of the other columns may not be modified.
        victim, rows, seed, path, progress: as in ``attack``.

    Returns:
        As ``attack``, with ``queries`` as TextAttack counts them: a text that it asks about again counts again, though
        its cache answers. ``changes`` compares the words of both texts, by :class:`Text`: position by position
        where their numbers agree, and else after alignment, where "" stands for a word that is not there (of a word
        that was added, the position is that of the next word). Other changes, such as of punctuation, are not listed.

    Raises:
        ValueError: as ``attack``; TextAttack is not installed, has no such recipe, or one that is no untargeted attack
            on a classifier or needs gradients; the recipe cannot be built or fails, for want of a file for example.
    """
    with _quiet():
        textattack = import_textattack()
        known = _recipes(textattack)
        if name not in known:
            raise ValueError(f"TextAttack has no recipe {name!r}, but {', '.join(known)}")
        wrapper = _Wrapper(victim)
        try:
            built = known[name].build(wrapper)
        except Exception as error:
            raise ValueError(f"TextAttack cannot build {name}: {_first_line(error)}") from error
        _fit(textattack, built, name, budget)
    described = {"type": "TextAttack", "name": name, "version": importlib.metadata.version("textattack")}
    header = attack_header(described, victim, rows, budget=budget, seed=seed, column=column)

    def results(left: Sequence[Row]) -> Iterator[dict[str, Any]]:
        own = built.pre_transformation_constraints
        for row in left:
            wrapper.row = row
            at, names = range(len(row.texts))[column], [f"text_{i}" for i in range(len(row.texts))]
            others = {name for i, name in enumerate(names) if i != at}
            stay = textattack.constraints.pre_transformation.InputColumnModification(names, others)
            built.pre_transformation_constraints = [*own, stay]
            with _quiet(), _seeded(f"{seed}:{row.id}"):
                try:
                    result = built.attack(OrderedDict(zip(names, row.texts, strict=True)), row.gold)
                except Exception as error:
                    raise ValueError(f"TextAttack's {name} failed on row {row.id!r}: {_first_line(error)}") from error
            yield _result(row, at, result)

    return keep_results(results, rows, header, path, desc=name, progress=progress)


def textattack_recipes() -> list[str]:
    """The names of the recipes' classes.

    Raises:
        ValueError: TextAttack is not installed, or cannot be imported.
    """
    with _quiet():
        return list(_recipes(import_textattack()))


def import_textattack() -> Any:
    """The module, also beside a transformers that its dependency flair does not know.

    Raises:
        ValueError: it is not installed, or cannot be imported.
    """
    if importlib.util.find_spec("textattack") is None:
        raise ValueError(
            "install textattack: pip install 'rosetune[textattack]', which brings what it needs, and then pip install "
            f"--no-deps {' '.join(PACKAGES)}, as these ask for an older transformers, though they work with this one"
        )
    # flair imports this name, which transformers 5 has no more, for an isinstance on layouts of scanned pages. Loading
    # the first parts of transformers runs its init once more, which puts another module in the place of the first.
    importlib.import_module("transformers.trainer_utils")
    transformers = sys.modules["transformers"]
    if not hasattr(transformers, "LayoutLMv2FeatureExtractor"):
        vars(transformers)["LayoutLMv2FeatureExtractor"] = type("LayoutLMv2FeatureExtractor", (), {})
    try:
        return importlib.import_module("textattack")
    except Exception as error:
        raise ValueError(f"textattack is installed, but cannot be imported: {_first_line(error)}") from error


def _recipes(textattack: Any) -> dict[str, Any]:
    base = textattack.attack_recipes.AttackRecipe
    members = inspect.getmembers(textattack.attack_recipes, inspect.isclass)
    return {name: member for name, member in members if issubclass(member, base) and member is not base}


class _Wrapper:
    """A victim as TextAttack calls a model: texts, or tuples of them, to probabilities."""

    row: Row  # under attack

    def __init__(self, victim: "Victim") -> None:
        self.model = victim

    def __call__(self, texts: Sequence[str | tuple[str, ...]]) -> NDArray[np.float64]:
        asked = [(text,) if isinstance(text, str) else tuple(text) for text in texts]
        answers = np.asarray(self.model(asked), dtype=np.float64)
        if answers.ndim != 2 or len(answers) != len(asked) or not np.isfinite(answers).all():
            raise ValueError(f"a victim gives {len(asked)} rows of finite probabilities, not {answers.shape}")
        if not 0 <= self.row.gold < answers.shape[1]:
            raise ValueError(f"its label is {self.row.gold}, but the model has {answers.shape[1]} labels")
        return answers


def _fit(textattack: Any, built: Any, name: str, budget: int | None) -> None:
    if not isinstance(built.goal_function, textattack.goal_functions.UntargetedClassification):
        goal = type(built.goal_function).__name__
        raise ValueError(f"{name} does not try to change a classifier's label (its goal is {goal})")
    if not built.is_black_box:
        raise ValueError(f"{name} needs the model's gradients; only attacks that ask for probabilities are run")
    built.goal_function.batch_size = AT_ONCE
    built.goal_function.query_budget = float("inf") if budget is None else budget


def _result(row: Row, at: int, result: Any) -> dict[str, Any]:
    original, final = result.original_result, result.perturbed_result
    perturbed = list(final.attacked_text._text_input.values())
    if [text for i, text in enumerate(perturbed) if i != at] != [text for i, text in enumerate(row.texts) if i != at]:
        raise ValueError(f"row {row.id!r}: TextAttack has changed a text that was to stay as it is")
    before, after = np.asarray(original.raw_output), np.asarray(final.raw_output)
    words = Text(row.texts[at]).words
    status = {"SuccessfulAttackResult": "success", "SkippedAttackResult": "skipped"}
    return {
        "id": row.id,
        "status": status.get(type(result).__name__, "failed"),
        "gold": row.gold,
        "prediction": int(before.argmax()),
        "perturbed_prediction": int(after.argmax()),
        "probabilities": before.round(6).tolist(),
        "perturbed_probabilities": after.round(6).tolist(),
        "queries": int(result.num_queries),
        "column": at,
        "words": len(words),
        "changes": _changes(words, Text(perturbed[at]).words),
        "texts": list(row.texts),
        "perturbed": perturbed,
    }


def _changes(before: list[str], after: list[str]) -> list[list[Any]]:
    if len(before) == len(after):
        return [[i, a, b] for i, (a, b) in enumerate(zip(before, after, strict=True)) if a != b]
    found: list[list[Any]] = []
    for kind, start, end, other_start, other_end in SequenceMatcher(None, before, after, False).get_opcodes():
        if kind != "equal":
            pairs = zip_longest(before[start:end], after[other_start:other_end], fillvalue="")
            found += ([min(start + i, end), a, b] for i, (a, b) in enumerate(pairs))
    return found


@contextmanager
def _seeded(key: str) -> Iterator[None]:
    import torch

    python, numpy = random.getstate(), np.random.get_state()
    random.seed(key)
    drawn = random.getrandbits(32)
    np.random.seed(drawn)
    try:
        with torch.random.fork_rng():
            torch.manual_seed(drawn)
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the warnings of TextAttack and what it depends on, which a user of it here can do nothing about."""
    logger = logging.getLogger("textattack.shared.utils.install")  # its only one
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logger.addFilter(_never)
        try:
            yield
        finally:
            logger.removeFilter(_never)


def _never(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.ERROR


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip(" *")]
    return f"{type(error).__name__}: {' '.join(lines[:4])}" if lines else type(error).__name__
