"""The recipe of an attack that was asked for, and the name of its file."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from rosetune.experiments.attack_options import BUDGET, TEXTATTACK, AttackOptions
from rosetune.experiments.targets import Target
from rosetune.robustness.attacks.additions import read_words
from rosetune.robustness.attacks.driver import Recipe
from rosetune.robustness.attacks.recipes import ADDED_WORDS, ADDS_WORDS, NEEDS_SYNONYMS, build_recipe
from rosetune.robustness.attacks.run import described

__all__ = ["AIM", "Synonyms", "Words", "file_name", "recipe_of", "words_of"]

Synonyms = Mapping[str, tuple[str, ...]]
Words = Mapping[int, tuple[str, ...]] | tuple[str, ...]
AIM = ("attack_class", "target_class")


def recipe_of(
    name: str, options: AttackOptions, synonyms: Synonyms, unk: str | None = None, words: Words | None = None
) -> Recipe | None:
    """The recipe with the limits that are given; None for one of TextAttack's."""
    if name.startswith(TEXTATTACK):
        return None
    return build_recipe(
        name,
        synonyms,
        unk=unk,
        max_share=options.max_share,
        protected=options.protected,
        words=words,
        added_words=options.added_words,
        noises=options.noises,
    )


def words_of(target: Target, options: AttackOptions) -> Words | None:
    """What attacks may add to a text, where one of them does."""
    if not ADDS_WORDS & {*options.attack}:
        return None
    return target.words(options.seed) if options.words is None else read_words(options.words)


def file_name(name: str, column: int, columns: Sequence[str], options: AttackOptions, synonyms: Synonyms) -> str:
    """The recipe's name, the classes that it is about, and a hash of what else is not the default.

    The model's unknown word does not: it belongs to the run. Nor does the number of rows, which may grow.
    """
    adds = name in ADDS_WORDS
    settings: tuple[tuple[str, Any, Any], ...] = (
        ("budget", options.budget, BUDGET),
        ("seed", options.seed, 0),
        ("set", options.set, "clean"),
        ("column", column, len(columns) - 1),
        ("max_share", options.max_share, None),
        ("protected", list(options.protected), []),
        ("synonyms", described(synonyms) if name in NEEDS_SYNONYMS else None, None),
        *((option, getattr(options, option), None) for option in AIM),
        ("words", list(read_words(options.words)) if adds and options.words is not None else None, None),
        ("added_words", options.added_words if adds else ADDED_WORDS, ADDED_WORDS),
        ("noises", list(options.noises) if name == "disguises" and options.noises is not None else None, None),
    )
    different = {option: value for option, value, default in settings if value != default}
    digest = hashlib.sha256(json.dumps(different).encode()).hexdigest()[:8]
    # Tables call an attack by its file: which class was attacked is seen in them.
    aim = "".join(f"-{_part(label)}" for option in AIM if (label := getattr(options, option)) is not None)
    return name.replace(":", "-") + aim + (f"-{digest}" if different else "")


def _part(label: str) -> str:
    """A label as part of a file's name."""
    return re.sub(r"\W+", "-", label).strip("-")[:20] or "class"
