"""Two groups of runs on the same examples: sets, attacks, AdvGLUE by attack; over one seed or several.

A group is a list of runs of one method, one a seed.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rosetune.robustness.attacks.run import differing
from rosetune.robustness.rows import paired_correctness, paired_errors
from rosetune.robustness.statistics import Difference, difference, difference_of_errors
from rosetune.runs.files import Rows
from rosetune.runs.identity import value_text
from rosetune.runs.run import Run
from rosetune.runs.sets import SetName
from rosetune.runs.values import RunError, differences

__all__ = [
    "OF_THE_SEED",
    "attack_header",
    "by_attack",
    "common_rows",
    "common_sets",
    "common_success",
    "compare",
    "not_compared",
    "open_group",
    "paired",
    "rows_difference",
    "rows_of",
    "side_names",
]

# Of an attack's header, what may differ between two models that suffered the same attack; of words and noises the
# attack itself counts, not how they were asked for.
_OF_THE_RUN = ("model", "rows", "finished", "synonyms", "words", "noises")
_FEW = 3  # options that still make a name
# What belongs to a seed: the trace that a mask follows, the seed of its draws, and what fooled a model of that seed.
OF_THE_SEED = ("seed", ".seed", ".trace", "adversarial_file")


def open_group(runs: str) -> list[Run]:
    """The finished runs of one method, named with commas between them.

    Raises:
        RunError: a run is not finished, or the runs differ in more than their seed.
    """
    folders = [runs] if Path(runs).is_dir() else [part.strip() for part in runs.split(",") if part.strip()]
    if not folders:
        raise RunError("name at least one run")
    group = [Run.open(folder) for folder in folders]
    for run in group[1:]:
        names = list(differences(group[0].identity, run.identity, ignore=OF_THE_SEED))
        if group[0].method != run.method and not names:  # one of them has no adversarial rows
            names = ["method"]
        if names:
            raise RunError(
                f"{runs}: commas stand between several seeds of one method, but {group[0]} and {run} differ in "
                f"{', '.join(names)}"
            )
    return check_seeds(group)


def check_seeds(group: list[Run]) -> list[Run]:
    """The group, if it holds each seed once.

    Raises:
        RunError: two runs have the same seed, or one names no labels.
    """
    seeds = [run.seed for run in group]
    if len({*seeds}) < len(seeds):
        raise RunError(f"{', '.join(map(str, group))}: two runs have the same seed, {', '.join(map(str, seeds))}")
    _ = [run.labels for run in group]
    return group


def paired(a: Sequence[Run], b: Sequence[Run]) -> tuple[list[Run], list[Run]]:
    """Both groups with the same seeds in the same order; a single run pairs with a single run of any seed.

    Raises:
        RunError: a run stands on both sides, they are not of the same task and labels, or have no common seed.
    """
    if {run.folder.resolve() for run in a} & {run.folder.resolve() for run in b}:
        raise RunError(f"{a[0]} stands on both sides: compare two different runs")
    if a[0].task != b[0].task:
        told = f"{a[0]} is a run on {a[0].task}, {b[0]} on {b[0].task}"
        raise RunError(f"{told}: compare runs of one task; that of a file is its name, so give both the same file")
    if a[0].labels != b[0].labels:
        sides = (f"on {run.task}, with {', '.join(run.labels) or 'numbers'}" for run in (a[0], b[0]))
        told = f"{a[0]} is a run {next(sides)}; {b[0]} {next(sides)}"
        raise RunError(f"{told}: compare runs of one task with the same labels in the same order")
    if len(a) == len(b) == 1:
        return [*a], [*b]
    by_seed = [{run.seed: run for run in group} for group in (a, b)]
    common = sorted(seed for seed in {*by_seed[0]} & {*by_seed[1]} if seed is not None)
    if not common:
        seeds = " and ".join(", ".join(str(run.seed) for run in group) for group in (a, b))
        raise RunError(f"runs are paired by their seed, but none is on both sides: {seeds}")
    return [by_seed[0][seed] for seed in common], [by_seed[1][seed] for seed in common]


def side_names(a: Sequence[Run], b: Sequence[Run]) -> tuple[str, str]:
    """What a person calls the two sides: their methods; of one method what differs, or else where the runs lie."""
    names = a[0].method, b[0].method
    if names[0] != names[1]:
        return names
    apart = differences(a[0].identity, b[0].identity, ignore=OF_THE_SEED)
    if 0 < len(apart) <= _FEW:
        last = [name.rpartition(".")[2] for name in apart]
        told = [name if last.count(short) > 1 else short for name, short in zip(apart, last, strict=True)]
        sides = [
            ", ".join(
                f"{name}={'default' if pair[side] is None else value_text(pair[side])}"
                for name, pair in zip(told, apart.values(), strict=True)
            )
            for side in (0, 1)
        ]
        return f"{names[0]} ({sides[0]})", f"{names[1]} ({sides[1]})"
    if not apart and len(a) == len(b) == 1 and a[0].seed != b[0].seed:
        return f"{names[0]} seed {a[0].seed}", f"{names[1]} seed {b[0].seed}"
    return f"{names[0]} in {a[0]}", f"{names[1]} in {b[0]}"


def compare(a: Sequence[Run], b: Sequence[Run]) -> dict[str, Difference]:
    """Every labelled evaluation set, and every attack, that all runs of both groups have.

    Of an attack the rows count that all runs have suffered: more examples asked of one run hold those of the other.

    Raises:
        RunError: the runs were not evaluated on the same examples.
    """
    found = {}
    for name in common_sets(a, b):
        before, after = rows_of(a, name), rows_of(b, name)
        if SetName.parse(name).attack is not None:
            before, after = common_rows(before, after)
        found[name] = rows_difference(before, after, name)
    return found


def common_sets(a: Sequence[Run], b: Sequence[Run]) -> list[str]:
    """The names of the labelled sets and attacks that all runs of both groups have, in the order of a table."""
    apart = not_compared(a, b)
    return sorted((name for name in a[0].sets() if name not in apart), key=lambda name: SetName.parse(name).sort_key)


def rows_of(group: Sequence[Run], name: str) -> list[Rows]:
    """The prediction rows of one set, for each run of a group."""
    return [run.rows(name) for run in group]


def rows_difference(rows_a: Sequence[Rows], rows_b: Sequence[Rows], name: str) -> Difference:
    """The difference on one set, from the prediction rows of each seed on either side.

    Raises:
        RunError: not the same examples.
    """
    numbers = isinstance(rows_a[0][0]["prediction"], float)
    try:
        values, clusters = (paired_errors if numbers else paired_correctness)(*rows_a, *rows_b)
    except ValueError as error:
        raise RunError(f"{name}: {error}") from error
    sides = values[: len(rows_a)], values[len(rows_a) :]
    one = len(rows_a) == 1
    return (difference_of_errors if numbers else difference)(
        *(side[0] if one else side for side in sides), clusters=clusters
    )


def not_compared(a: Sequence[Run], b: Sequence[Run]) -> dict[str, str]:
    """The evaluation sets and attacks of either group that the other lacks, or has otherwise, and why."""
    runs = [*a, *b]
    there = {run: {*run.sets()} for run in runs}
    attacks = {run: [SetName.of_attack(name).name for name in run.attacks] for run in runs}
    reasons: dict[str, str] = {}
    for name in dict.fromkeys(name for run in runs for name in (*run.sets(), *attacks[run])):
        missing = [run for run in runs if name not in there[run]]
        headers = [attack_header(run, name) for run in runs]
        if missing:
            unfinished = any(name in attacks[run] for run in missing)
            reasons[name] = f"{'not finished' if unfinished else 'not there'} for {', '.join(map(str, missing))}"
        elif other := sorted({key for header in headers for key in differing(headers[0], header)}):
            reasons[name] = f"not the same attack: it differs in {', '.join(other)}"
        elif any(_other_texts(runs[0], run, name) for run in runs[1:]):
            reasons[name] = "not the same texts: other data, or noise of another version"
        elif not any(row["gold"] is not None for row in a[0].rows(name)):
            reasons[name] = "no row has a label"
    return reasons


def _other_texts(a: Run, b: Run, name: str) -> bool:
    """Whether a set is known to hold other texts for two runs; earlier versions did not keep what it was made of."""
    attack = SetName.parse(name).attack
    if attack is None:
        made_of = [run.fingerprints[name] for run in (a, b) if name in run.fingerprints]
        return len({*made_of}) > 1
    texts = {result["id"]: result["texts"] for result in a.attacks[attack][1]}
    return any(texts.get(result["id"], result["texts"]) != result["texts"] for result in b.attacks[attack][1])


def attack_header(run: Run, name: str) -> dict[str, Any]:
    """What an attack on a run was, but for what belongs to the run; nothing for what is no attack on it."""
    header, _ = run.attacks.get(SetName.parse(name).attack or "", ({}, []))
    return {key: value for key, value in header.items() if key not in _OF_THE_RUN}


def by_attack(a: Sequence[Run], b: Sequence[Run], name: str) -> dict[str, Difference]:
    """One AdvGLUE set by kind of attack and by "kind/method"; nothing where its rows are not annotated."""
    groups: dict[str, set[Any]] = {}
    for row in a[0].rows(name):
        kind, method = row.get("data_construction"), row.get("method")
        if kind and method and row["gold"] is not None:
            groups.setdefault(kind, set()).add(row["id"])
            groups.setdefault(f"{kind}/{method}", set()).add(row["id"])

    def part(group: Sequence[Run], ids: set[Any]) -> list[Rows]:
        return [[row for row in rows if row["id"] in ids] for rows in rows_of(group, name)]

    return {group: rows_difference(part(a, ids), part(b, ids), name) for group, ids in sorted(groups.items())}


def common_success(a: Sequence[Run], b: Sequence[Run], name: str) -> tuple[int, float | None, float | None]:
    """Attack success on the rows that both models of a pair get right before: their number and both rates.

    A rate over each model's own right rows would compare different rows. Of several pairs the rows are pooled.
    """
    pairs = []
    for rows_a, rows_b in zip(rows_of(a, name), rows_of(b, name), strict=True):
        other = {row["id"]: row["prediction"] for row in rows_b}
        pairs += [(row["prediction"], other[row["id"]]) for row in rows_a if row["id"] in other]
    both = [pair for pair in pairs if "wrong" not in pair]
    if not both:
        return 0, None, None
    rates = (sum(outcome == "broken" for outcome in side) / len(both) for side in zip(*both, strict=True))
    return len(both), *rates


def common_rows(*groups: Sequence[Rows]) -> list[list[Rows]]:
    """The rows of an attack that every run of every group has suffered.

    Raises:
        RunError: there is none.
    """
    ids = set.intersection(*({row["id"] for row in rows} for group in groups for rows in group))
    if not ids:
        raise RunError(f"{groups[0][0][0]['set']}: the runs have suffered it on no row in common: attack them anew")
    return [[[row for row in rows if row["id"] in ids] for rows in group] for group in groups]
