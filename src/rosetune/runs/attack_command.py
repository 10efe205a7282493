"""The commands that attack a run as another one was attacked, read off that attack's files."""

import os
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from rosetune.robustness.attacks.recipes import ADDED_WORDS, ADDS_WORDS
from rosetune.robustness.attacks.transformations import DISGUISES
from rosetune.runs.run import Run

__all__ = ["attack_commands"]


def attack_commands(folder: str | os.PathLike[str], run: Run, names: Sequence[str] | None = None) -> list[str]:
    """`rosetune attack` with every option that decides the name of an attack or its rows.

    Attacks that share all options but the recipe are one command. A file of words that an earlier version did not
    name stands there as FILE.

    Args:
        folder: what is to be attacked.
        run: what was attacked.
        names: of the attacks on it; None: all that are finished.
    """
    if names is None:
        names = [name for name, (header, _) in run.attacks.items() if header["finished"]]
    recipes: dict[tuple[str, ...], list[str]] = {}
    for name in names:
        header, results = run.attacks[name]
        recipe = str(header.get("recipe") or header.get("attack", {}).get("name") or name.partition("-")[0])
        same = recipes.setdefault(tuple(_options(run, recipe, header, len(results))), [])
        same += [recipe] if recipe not in same else []
    return [
        shlex.join(("rosetune", "attack", os.fspath(folder), "--attack", ",".join(same), *options))
        for options, same in recipes.items()
    ]


def _options(run: Run, recipe: str, header: Mapping[str, Any], done: int) -> list[str]:
    budget, columns = header.get("budget"), list(run.identity.get("text_columns") or ())
    words = ["--examples", str(header.get("rows", done)), "--budget", "none" if budget is None else str(budget)]
    column = header.get("text_column")
    given: dict[str, Any] = {
        "seed": header.get("seed") or None,
        "set": None if header.get("set") == "clean" else header.get("set"),
        "column": None if not columns or column == columns[-1] else column,
        **{name: header.get(name) for name in ("max_share", "synonyms", "attack_class", "target_class")},
        **_material(recipe, header),
    }
    for name, value in given.items():
        words += [] if value is None else [f"--{name}", str(value)]
    protected = header.get("protected") or ()
    return [*words, *(("--protected", *protected) if protected else ())]


def _material(recipe: str, header: Mapping[str, Any]) -> dict[str, Any]:
    """What only some attacks take: their words, how many of them, and the noises that disguise."""
    attack = header.get("attack")
    parts = attack.get("transformation") if isinstance(attack, Mapping) else None
    parts = parts if isinstance(parts, Mapping) else {}
    found: dict[str, Any] = {}
    if recipe in ADDS_WORDS:
        # Those of a file stand there one by one, those of the training texts as a digest.
        found["words"] = header.get("words") or ("FILE" if isinstance(parts.get("words"), list) else None)
        found["added_words"] = most if (most := parts.get("most", ADDED_WORDS)) != ADDED_WORDS else None
    elif recipe == "disguises":
        noises = header.get("noises") or parts.get("noises") or []
        asked = noises if "noises" in header or noises != list(DISGUISES) else []
        found["noises"] = ",".join(asked) or None
    return found
