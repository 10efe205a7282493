"""Attacks on finished runs, kept in their folders; and every model against every other's adversarial examples."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from rosetune._files import write_json
from rosetune.data.synonyms import load_synonyms
from rosetune.experiments.attack_options import TEXTATTACK, AttackOptions
from rosetune.experiments.attack_parts import AIM, file_name, recipe_of, words_of
from rosetune.experiments.evaluate import write_card
from rosetune.experiments.lock import locked
from rosetune.experiments.models import load_trained, quiet_libraries
from rosetune.experiments.targets import Target, attacked_column, find_targets
from rosetune.robustness.attacks.driver import Recipe
from rosetune.robustness.attacks.recipes import ADDS_WORDS, NEEDS_SYNONYMS
from rosetune.robustness.attacks.run import attack, read_results
from rosetune.robustness.attacks.summary import Transferred, summary, transfer
from rosetune.robustness.classifier import Victim, load_function
from rosetune.robustness.statistics import Estimate
from rosetune.robustness.transformers_classifier import TransformersClassifier
from rosetune.runs.attacked import TRANSFER, Attacked, results_digest
from rosetune.runs.files import read_json
from rosetune.runs.run import Run

__all__ = ["AttackOptions", "attack_names", "attack_runs", "is_attacked"]

Results = list[dict[str, Any]]
Say = Callable[[str], Any]


def attack_runs(runs: Sequence[Run], options: AttackOptions, say: Say = print, **moved: str | None) -> Attacked:
    """Attack runs, each on its own data, and try each model on what fooled the others of the same task.

    Results are kept in ``RUN/attacks``; what is there is not attacked again, and a killed attack goes on.

    Args:
        say: takes a line of text for the person who waits.
        moved: where data lies now, if not where it was for training: ``task``, ``data_dir``, ``validation_file``,
            ``test_file``.

    Raises:
        RunError: a run that is not finished, or whose data has changed; a set or column that it has not.
        DataError: data or synonyms cannot be read.
        ValueError: an option of an attack out of range, or a file of another attack.
    """
    quiet_libraries()
    synonyms = {} if options.synonyms is None else load_synonyms(options.synonyms)
    for name in options.attack:
        recipe_of(name, options, synonyms, words=("a",))  # what is wrong with it is said before any work
    targets = find_targets(
        runs,
        options.set,
        examples=options.examples,
        seed=options.seed,
        column=options.column,
        moved=moved,
        attack_class=options.attack_class,
        target_class=options.target_class,
    )
    for target in targets:
        if target.unlabelled:
            say(f"{target.run}: {target.unlabelled} of {target.total} rows have no label and are left out")
        if target.not_attacked:
            say(f"{target.run}: {target.not_attacked} of {target.total} rows are of other classes: not attacked")
    results: dict[str, dict[str, Results]] = {}
    figures: dict[str, dict[str, dict[str, Any]]] = {}
    for target in targets:
        run = str(target.run)
        victim, unk = _victim(target.run, options.batch_size)
        results[run], figures[run] = {}, {}
        words = words_of(target, options)
        with locked(target.run.folder):
            for name in options.attack:
                stem = file_name(name, target.column, target.data.text_columns, options, synonyms)
                path = target.run.folder / "attacks" / f"{stem}.jsonl"
                recipe = recipe_of(name, options, synonyms, unk, words)
                found = _attack(target, victim, name, recipe, path, options, say)
                results[run][name] = found
                told = summary(found, options.budget, target.data.labels)
                figures[run][name] = {"file": str(path), **told, "not_attacked": target.not_attacked}
            write_card(Run(target.run.folder), target.run.metrics)
    matrices = _transfer(targets, results, options, say)
    labels = {str(target.run): target.data.labels for target in targets}
    aim = options.attack_class, options.target_class
    return Attacked(options.attack, options.set, options.budget, results, figures, matrices, labels, *aim)


def attack_names(columns: Sequence[str], options: AttackOptions) -> list[str]:
    """The names of the files in which a run keeps these attacks.

    Args:
        columns: the text columns of its task.

    Raises:
        RunError: there is no such column.
        DataError: synonyms cannot be read.
    """
    synonyms = {} if options.synonyms is None else _known_synonyms(options.synonyms)
    column = attacked_column(options.column, columns)
    return [file_name(name, column, columns, options, synonyms) for name in options.attack]


def is_attacked(run: Run, columns: Sequence[str], options: AttackOptions) -> bool:
    """Whether a run holds these attacks, finished and on enough rows.

    Args:
        columns: the text columns of its task.

    Raises:
        DataError: synonyms cannot be read.
    """
    there = _attackable(run, options)
    enough = there if options.examples is None else min(options.examples, there)
    headers = [run.attacks.get(name) for name in attack_names(columns, options)]
    return all(found is not None and found[0]["finished"] and found[0]["rows"] >= enough for found in headers)


def _attackable(run: Run, options: AttackOptions) -> int:
    """The number of rows of the set that may be attacked."""
    if options.attack_class is None and options.target_class is None:
        return run.metrics["sets"].get(options.set, {}).get("n", 0)
    golds = [row["gold"] for row in run.rows(options.set)] if options.set in run.metrics["sets"] else []
    return sum(
        gold is not None and gold != options.target_class and options.attack_class in (None, gold) for gold in golds
    )


_known_synonyms = lru_cache(maxsize=4)(load_synonyms)  # asked for once a run


def _attack(
    target: Target,
    victim: Victim,
    name: str,
    recipe: Recipe | None,
    path: Path,
    options: AttackOptions,
    say: Say,
) -> Results:
    known = {result["id"] for result in read_results(path)[1]} if path.is_file() else set()
    rows = target.rows(known)
    wanted = [row.id for row in rows[: target.wanted]]
    left = len(set(wanted) - known)
    if left:
        columns = target.data.text_columns
        side = f", attacking the column {columns[target.column]}" if len(columns) > 1 else ""
        done = f", {len(known)} done" if known else ""
        say(f"{target.run}: {name} on {left} rows of {options.set}{side}{done}")
    else:
        say(f"{target.run}: {name} was done before, see {path}")
    before, originals = _about(path), target.originals()
    about = {
        "recipe": name,
        "set": options.set,
        "rows": max(target.wanted, before.get("rows", 0)),
        "labels": list(target.data.labels),
        "text_column": target.data.text_columns[target.column],
        "max_share": options.max_share,
        "protected": list(options.protected),
        "synonyms": options.synonyms if name in NEEDS_SYNONYMS else None,
        **({"originals": originals} if originals else {}),
        # What came later stands there where it is given: files of earlier versions lack it.
        **{option: value for option in AIM if (value := getattr(options, option)) is not None},
        **({"words": options.words} if name in ADDS_WORDS and options.words is not None else {}),
        **({"noises": list(options.noises)} if name == "disguises" and options.noises is not None else {}),
        **({"not_attacked": target.not_attacked} if target.not_attacked else {}),
    }
    if {**before, "synonyms": about["synonyms"]} != about:  # the same synonyms from another place are no news
        write_json(path.with_suffix(".json"), about)
    column, budget, seed = target.column, options.budget, options.seed
    try:
        if recipe is None:
            from rosetune.robustness.attacks.textattack_adapter import attack_with_textattack

            foreign = name.removeprefix(TEXTATTACK)
            found = attack_with_textattack(
                victim, rows, foreign, budget=budget, seed=seed, column=column, path=path, progress=True
            )
        else:
            aim = target.aim
            found = attack(victim, rows, recipe, budget=budget, seed=seed, column=column, target=aim, path=path)
    except Exception:
        if not before and not (path.is_file() and read_results(path)[1]):  # it failed at the first question
            for kind in (".json", ".jsonl"):
                path.with_suffix(kind).unlink(missing_ok=True)
            if path.parent.is_dir() and not any(path.parent.iterdir()):
                path.parent.rmdir()
        raise
    return _with_originals(found[: target.wanted], originals)


def _transfer(
    targets: Sequence[Target], results: Mapping[str, Mapping[str, Results]], options: AttackOptions, say: Say
) -> dict[str, dict[str, dict[str, Transferred]]]:
    tasks: dict[Any, list[Run]] = {}
    for target in targets:
        tasks.setdefault(target.task, []).append(target.run)
    if len(tasks) > 1:
        named = "; ".join(f"{name}: {', '.join(map(str, runs))}" for (name, _, _), runs in tasks.items())
        say(f"no transfer between runs of different tasks, whose labels mean different things ({named})")
    matrices: dict[str, dict[str, dict[str, Transferred]]] = {}
    for runs in tasks.values():
        for run in runs if len(runs) > 1 else ():
            for name in options.attack:
                sources = {str(source): results[str(source)][name] for source in runs}
                for source, cell in _onto(run, sources, options.batch_size).items():
                    matrices.setdefault(name, {}).setdefault(source, {})[str(run)] = cell
    return matrices


def _onto(run: Run, sources: Mapping[str, Results], batch_size: int | None) -> dict[str, Transferred]:
    """What adversarial examples found on some runs do to another; what was tried before is kept in its folder."""
    path = run.folder / "attacks" / TRANSFER
    keys = {source: results_digest(part) for source, part in sources.items()}
    kept = read_json(path, "remove it") if path.is_file() else {}
    new = {source: part for source, part in sources.items() if keys[source] not in kept}
    if new:
        victim, _ = _victim(run, batch_size)
        found = transfer(new, {str(run): victim})
        with locked(run.folder):
            kept = read_json(path, "remove it") if path.is_file() else {}  # another process may have added to it
            kept |= {keys[source]: dataclasses.asdict(row[str(run)]) for source, row in found.items()}
            write_json(path, kept)
    return {
        source: Transferred(**{name: value and Estimate(**value) for name, value in kept[key].items()})
        for source, key in keys.items()
    }


def _victim(run: Run, batch_size: int | None) -> tuple[Victim, str | None]:
    function = load_function(run.folder, batch_size)
    if function is not None:
        return function, None
    model, tokenizer, _ = load_trained(run.folder)
    return TransformersClassifier(model, tokenizer, batch_size=batch_size), tokenizer.unk_token


def _about(path: Path) -> dict[str, Any]:
    beside = path.with_suffix(".json")
    return read_json(beside, "remove it and attack again") if beside.is_file() else {}


def _with_originals(results: Results, originals: Mapping[str, str]) -> Results:
    return [{**result, "original_id": originals[result["id"]]} for result in results] if originals else results
