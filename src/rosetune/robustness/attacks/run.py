"""Attack the rows of a set and keep what came of each, so that a killed run goes on where it was."""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rosetune._files import replacing
from rosetune._progress import progress as _progress
from rosetune.robustness.attacks.driver import Recipe, Row, Session, drive

if TYPE_CHECKING:
    from rosetune.robustness.classifier import Victim

__all__ = ["Row", "attack", "attack_header", "attack_row", "described", "differing", "keep_results", "read_results"]

Result = dict[str, Any]
_OUTCOMES = {"failed": "robust", "success": "broken", "skipped": "wrong"}


def attack(
    victim: "Victim",
    rows: Sequence[Row],
    recipe: Recipe,
    *,
    budget: int | None = None,
    seed: int = 0,
    column: int = -1,
    target: int | None = None,
    path: str | Path | None = None,
    pool: int = 512,
    progress: bool = True,
) -> list[Result]:
    """Attack every row that the model gets right.

    The result of a row depends on the row, the model, the recipe, the budget and the seed, and on nothing else.

    Args:
        recipe: from :data:`~rosetune.robustness.attacks.recipes.RECIPES`, or one's own.
        budget: largest number of texts that the model is asked about for a row, the unchanged one included; None: no
            limit, as in the papers.
        column: which text of a row is attacked. The last: of one text this one, of premise and hypothesis the
            hypothesis, as the papers on NLI do.
        target: index of the label that the model is to give; None: any but the right one.
        path: JSON Lines with the results, written as rows are finished. Rows found in it are not attacked again;
            in the end it holds a header and the results in the order of the rows.
        pool: texts that the victim gets at once, at most.
        progress: a bar on standard error where that is a terminal, elsewhere a line now and then.

    Returns:
        One dict per row, in their order: ``id``, ``status`` ("success", "failed", or "skipped" where the model is
        wrong on the unchanged text), ``gold``, ``prediction`` and ``probabilities`` for the unchanged text and
        ``perturbed_prediction`` and ``perturbed_probabilities`` for the perturbed, ``queries``, ``column``, ``words``
        (number in the attacked text), ``changes`` (position among the words, before, after; of a word that was added
        "" before, and the position 0 or the number of words), ``texts`` and ``perturbed`` (the adversarial example;
        where the attack failed, the text that came closest). With a target also ``target``; a text that misleads the
        model to a third label has failed.

    Raises:
        ValueError: a budget, pool or column out of range, ids that are not unique, a row whose right label is the
            target, or a file of another attack.
    """
    if pool < 1:
        raise ValueError(f"pool must be at least 1 text, not {pool}")

    def results(left: Sequence[Row]) -> Iterator[Result]:
        # A word that the model does not see would cost queries in vain.
        seen = getattr(victim, "visible", lambda texts, at: None)
        columns = ((row, range(len(row.texts))[column]) for row in left)
        sessions = (Session(row, recipe, at, budget, seed, seen(row.texts, at), target) for row, at in columns)
        return (session.result() for session in drive(victim, sessions, pool))

    header = attack_header(described(recipe), victim, rows, budget=budget, seed=seed, column=column, target=target)
    return keep_results(results, rows, header, path, desc=recipe.name, progress=progress)


def attack_header(
    described: dict[str, Any],
    victim: "Victim",
    rows: Sequence[Row],
    *,
    budget: int | None,
    seed: int,
    column: int,
    target: int | None = None,
) -> dict[str, Any]:
    """All that a row's result depends on beside the row: the first line of an attack's file.

    Args:
        described: the attack, as JSON can hold it.

    Raises:
        ValueError: a regression, a budget or column out of range, ids that are not unique, a text that is no string,
            or a row whose right label is the target.
    """
    if getattr(victim, "labels", None) == ():
        raise ValueError("a regression model has no label that an attack could change")
    if budget is not None and budget < 1:
        raise ValueError(f"budget must be at least 1 query, not {budget}")
    columns = {_check_row(row, column) for row in rows}
    if len({row.id for row in rows}) < len(rows):
        raise ValueError("an id occurs more than once among the rows")
    if target is not None and (there := [row.id for row in rows if row.gold == target]):
        raise ValueError(f"row {there[0]!r} has the label that the attack aims at: leave such rows out")
    return {
        "attack": described,
        "budget": budget,
        "seed": seed,
        "column": columns.pop() if len(columns) == 1 else column,
        "model": getattr(victim, "fingerprint", None),
        **({} if target is None else {"target": target}),
    }


def keep_results(
    attack: Callable[[Sequence[Row]], Iterator[Result]],
    rows: Sequence[Row],
    header: dict[str, Any],
    path: str | Path | None,
    *,
    desc: str,
    progress: bool,
) -> list[Result]:
    """Attack the rows that a file lacks, and keep each result as it comes.

    Args:
        attack: gives the results of rows, in any order.
        header: from :func:`attack_header`.
        path, progress: as in :func:`attack`.
        desc: of the bar.

    Returns:
        The results of all rows, in their order.

    Raises:
        ValueError: the file is of another attack.
    """
    results = {} if path is None else _resume(Path(path), header, rows)
    left = [row for row in rows if row.id not in results]
    if path is not None and left:  # without a torn last line: it is appended to
        _write(Path(path), header, [*results.values()])
    shown = _progress(desc, len(results), "row", progress)
    with shown as bar, nullcontext() if path is None or not left else open(path, "a", encoding="utf-8") as file:
        for result in attack(left):
            results[result["id"]] = result
            if file is not None:
                file.write(_line(result))
                file.flush()
            bar(len(results), len(rows))
    ordered = [results[row.id] for row in rows]
    if path is not None:
        _write(Path(path), header, ordered)
    return ordered


def read_results(path: str | Path) -> tuple[dict[str, Any], list[Result]]:
    """Header and results of an attack's file; a line that was being written when the run was killed is left out.

    Raises:
        ValueError: it is no such file, or damaged before its last line.
    """
    lines = Path(path).read_bytes().split(b"\n")
    values: list[Any] = []
    for number, line in enumerate(lines[:-1], 1):  # what follows the last line break is empty or torn
        try:
            values.append(json.loads(line))
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: not valid JSON ({error})") from error
    start = b'{"attack"'
    if not lines[0].startswith(start[: len(lines[0])] if len(lines) == 1 else start):
        raise ValueError(f"{path} is no file of an attack: its first line must be the header")
    if any(not isinstance(value, dict) or "status" not in value for value in values[1:]):
        raise ValueError(f"{path} holds a line that is no result of an attack")
    return (values[0], values[1:]) if values else ({}, [])


def described(value: Any) -> Any:
    """A recipe, or a part of one, as JSON holds it: the type's name and all options; synonyms as a digest."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        options = {field.name: described(getattr(value, field.name)) for field in dataclasses.fields(value)}
        return {"type": type(value).__name__, **options}
    if isinstance(value, dict):
        return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, tuple):
        return list(value)
    # WordNet goes by its name: tens of thousands of look-ups would only say that it is WordNet.
    return value if value is None or isinstance(value, str | int | float) else type(value).__name__


def differing(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    """What two described attacks differ in, such as "constraints.max_share"; the model's unknown word does not count.

    Args:
        a, b: from :func:`described`.
    """
    flat_a, flat_b = _flat(a), _flat(b)
    names = [name for name in {**flat_a, **flat_b} if not name.endswith("search.unk")]
    return [name for name in names if flat_a.get(name) != flat_b.get(name)]


def _flat(options: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in options.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return flat


def _check_row(row: Row, column: int) -> int:
    if not all(isinstance(text, str) for text in row.texts):
        raise ValueError(f"row {row.id!r} holds a text that is no string: {row.texts!r}")
    if not row.texts or not -len(row.texts) <= column < len(row.texts):
        raise ValueError(f"row {row.id!r} has {len(row.texts)} texts: there is no column {column}")
    return range(len(row.texts))[column]


def _resume(path: Path, header: dict[str, Any], rows: Sequence[Row]) -> dict[str | int, Result]:
    """The results that are there already."""
    found, results = read_results(path) if path.is_file() else ({}, [])
    if found and found != json.loads(json.dumps(header)):
        differing = [name for name in header if found.get(name) != json.loads(json.dumps(header[name]))]
        raise ValueError(
            f"{path} holds another attack (it differs in {', '.join(differing)}): name another file, or remove it"
        )
    by_id = {row.id: row for row in rows}
    for result in results:
        row = by_id.get(result["id"])
        if row is None or list(row.texts) != result["texts"] or row.gold != result["gold"]:
            raise ValueError(f"{path} holds a row {result['id']!r} that is not among the rows: name another file")
    return {result["id"]: result for result in results}


def _write(path: Path, header: dict[str, Any], results: Sequence[Result]) -> None:
    """The whole file; one that holds the same is left alone."""
    text = "".join(map(_line, (header, *results))).encode()
    if not path.is_file() or path.read_bytes() != text:
        with replacing(path) as partial:
            partial.write_bytes(text)


def _line(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        text = json.dumps(value)
    return text + "\n"


def attack_row(set_name: str, result: Mapping[str, Any]) -> dict[str, Any]:
    """The result of an attack on one text as a row: "robust", "broken", or "wrong" before the attack.

    Args:
        set_name: of the attack.
        result: of :func:`attack`; its ``original_id`` is kept.

    Raises:
        ValueError: a status that no attack has.
    """
    if result["status"] not in _OUTCOMES:
        raise ValueError(f"{set_name}: text {result['id']!r} has the status {result['status']!r}, which is none")
    known = {} if result.get("original_id") is None else {"original_id": result["original_id"]}
    row = {"set": set_name, "id": result["id"], "gold": "robust", "prediction": _OUTCOMES[result["status"]]}
    return row | known
