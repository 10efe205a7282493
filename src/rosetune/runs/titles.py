"""What a person calls evaluation sets, attacks among them."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rosetune.runs.attacked import attack_title
from rosetune.runs.compare import attack_header
from rosetune.runs.identity import value_text
from rosetune.runs.run import Run
from rosetune.runs.sets import SetName

__all__ = ["attack_titles", "group_titles", "titles_of", "titles_of_attacks"]

# Of an attack's header what two attacks are told apart by; its classes stand in its title, its column has a name.
_COLUMN = "text_column"
_OUTSIDE = ("attack", "recipe", "labels", "column", "target", "attack_class", "target_class", "not_attacked")


def titles_of(runs: Iterable[Run], names: Iterable[str]) -> dict[str, str]:
    """By the name of a set what a person calls it.

    Args:
        runs: that have the sets; see :func:`attack_titles`.

    Raises:
        RunError: a file of a run is damaged.
    """
    plain = {name: SetName.parse(name).title for name in names}
    return plain | attack_titles(runs, plain)


def titles_of_attacks(run: Run) -> dict[str, str]:
    """By the name of its file what a person calls each finished attack on a run, such as "deepwordbug on spam"."""
    names = {attack: SetName.of_attack(attack).name for attack, (about, _) in run.attacks.items() if about["finished"]}
    titles = titles_of([run], names.values())
    return {attack: titles[name].removeprefix("under ") for attack, name in names.items()}


def group_titles(*groups: Sequence[Run]) -> dict[str, str]:
    """:func:`titles_of` all sets of some groups of runs, attacks that are not finished among them."""
    runs = [run for group in groups for run in group]
    begun = (SetName.of_attack(name).name for run in runs for name in run.attacks)
    return titles_of(runs, dict.fromkeys((*(name for run in runs for name in run.sets()), *begun)))


def attack_titles(runs: Iterable[Run], names: Iterable[str]) -> dict[str, str]:
    """Attacks by their recipe: "under deepwordbug", or with what tells them apart, "under deepwordbug (budget=300)".

    Args:
        runs: that suffered them. An attack is described by the first run that has it.
        names: of sets; what is no attack, or not described, has no title here.

    Raises:
        RunError: a file of a run is damaged.
    """
    asked = [name for name in names if SetName.parse(name).attack is not None]
    headers: dict[str, dict[str, Any]] = {}
    for run in runs if asked else ():
        for name in asked:
            if name not in headers and "recipe" in (header := attack_header(run, name)):
                headers[name] = header
    alike: dict[str, list[str]] = {}
    for name, header in headers.items():
        alike.setdefault(attack_title(header), []).append(name)
    return {
        name: f"under {recipe}{told}"
        for recipe, same in alike.items()
        for name, told in zip(same, _told_apart([headers[name] for name in same], same), strict=True)
    }


def _told_apart(headers: list[Mapping[str, Any]], names: list[str]) -> list[str]:
    """In brackets what each of some attacks of one recipe has otherwise than others; nothing of a single one.

    Args:
        headers: of the attacks.
        names: of their sets, in the same order.
    """
    if len(headers) == 1:
        return [""]
    keys = dict.fromkeys(key for header in headers for key in header if key not in _OUTSIDE)
    apart = [key for key in keys if len({json.dumps(header.get(key)) for header in headers}) > 1]
    # Tasks have other columns anyway: these are told where nothing else is.
    less = [key for key in apart if key != _COLUMN]
    for chosen in (less, apart):
        told = [", ".join(f"{key}={_value(header.get(key))}" for key in chosen) for header in headers]
        if len({*told}) == len(told):
            break
    else:
        # What else a recipe may differ in, such as its synonyms, is in the hash that ends the file's name alone.
        digests = [name.rpartition("-")[2] if "-" in name else "defaults" for name in names]
        told = [", ".join(filter(None, pair)) for pair in zip(told, digests, strict=True)]
    return [f" ({text})" for text in told]


def _value(value: Any) -> str:
    return "none" if value is None or value == [] else value_text(value)
