"""Adversarial rows: some of the training rows are attacked, and what fooled the model is kept with its origin."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets import Dataset

from rosetune._files import write_json, write_json_lines
from rosetune.data.adversarial import read_adversarial_rows
from rosetune.data.rows import TaskData, text_key, text_keys
from rosetune.data.split import shuffled
from rosetune.data.synonyms import load_synonyms
from rosetune.experiments.adversarial_options import AdversarialOptions
from rosetune.experiments.models import load_trained
from rosetune.experiments.targets import Target
from rosetune.robustness.attacks.driver import Row
from rosetune.robustness.attacks.recipes import ADDS_WORDS, NEEDS_SYNONYMS, build_recipe
from rosetune.robustness.attacks.run import attack
from rosetune.robustness.transformers_classifier import TransformersClassifier
from rosetune.runs.files import read_json
from rosetune.runs.run import Run

__all__ = ["FoundRows", "find_adversarial_rows", "rows_to_attack"]

Say = Callable[[str], Any]
Key = tuple[str, ...]


@dataclass(frozen=True)
class FoundRows:
    """What a round of attacks has found.

    Attributes:
        file: the adversarial rows to train on: those of this round and of the rounds before.
        about: ``round``; ``attacked`` rows, how many of these the model got ``right`` before; by all attacks together
            ``succeeded`` and the ``queries`` that took; ``added`` rows, and ``rows`` with those of earlier rounds.
    """

    file: Path
    about: Mapping[str, Any]


def rows_to_attack(
    train: Dataset,
    columns: Sequence[str],
    reported: set[Key],
    options: AdversarialOptions,
    number: int,
    attacked: int | None = None,
) -> list[Row]:
    """The training rows that a round attacks: a share of the distinct texts, drawn by the seed and the round.

    Args:
        train: what the model was trained on.
        columns: of the texts.
        reported: keys of texts that may not be trained on in any guise.
        number: of the round, from 1.
        attacked: index of the label whose rows are attacked; None: of any.
    """
    keys = text_keys(train, columns)
    place = {key: i for i, key in reversed([*enumerate(keys)])}  # of equal texts the first
    order = [place[key] for key in shuffled(keys, options.attack_seed + number) if key not in reported]
    if attacked is not None:
        golds = train["label"][:]
        order = [i for i in order if golds[i] == attacked]
    part = train[order[: options.attacked(len(order))]]
    texts = zip(*(part[name] for name in columns), strict=True)
    return [Row(*row) for row in zip(part["id"], texts, part["label"], strict=True)]


def find_adversarial_rows(
    run: Run,
    number: int,
    earlier: Path | None,
    *,
    data: TaskData,
    train: Dataset,
    reported: set[Key],
    options: AdversarialOptions,
    folder: Path,
    say: Say,
) -> FoundRows:
    """Attack a run on some of its training rows; what fooled it goes into a file, below that of the round before.

    A text that is also evaluated on or held out is neither attacked nor added. Results are kept as they come, so that
    a killed round goes on, and a finished one is not attacked again.

    Args:
        run: the one that is attacked.
        number: of the round, from 1.
        earlier: the file of the round before.
        data: of the run.
        train: what it was trained on.
        reported: keys of all texts that are evaluated or chosen on.
        folder: for the files, ``round-<n>.jsonl`` and, written last, ``round-<n>.json``.
    """
    file, path = folder / f"round-{number}.jsonl", folder / f"round-{number}.json"
    if path.is_file() and file.is_file():
        return FoundRows(file, read_json(path, "remove it"))
    attacked = options.attacked_label(data.labels)
    rows = rows_to_attack(train, data.text_columns, reported, options, number, attacked)
    model, tokenizer, _ = load_trained(run.folder)
    victim = TransformersClassifier(model, tokenizer)
    synonyms = None if options.synonyms is None else load_synonyms(options.synonyms)
    found: list[dict[str, Any]] = []
    for name in options.attack:
        recipe = build_recipe(
            name,
            synonyms if name in NEEDS_SYNONYMS else None,
            unk=tokenizer.unk_token,
            max_share=options.max_share,
            words=_words(run, data, options) if name in ADDS_WORDS else None,
        )
        of = "" if options.attack_class is None else f" of {options.attack_class}"
        say(f"{name} on {len(rows)} training rows{of}, at most {options.max_share:.0%} of the words changed")
        results = attack(
            victim,
            rows,
            recipe,
            budget=options.budget,
            seed=options.attack_seed + number,
            path=folder / f"round-{number}.{name}.attack.jsonl",
        )
        found += [{"attack": name, **result} for result in results]
    before = [] if earlier is None else read_adversarial_rows(earlier)
    added = _new_rows(found, number, before, reported, data.labels)
    write_json_lines(file, [*before, *added])
    right = [result for result in found if result["status"] != "skipped"]
    about = {
        "round": number,
        "attacked": len(rows),
        "right": len({result["id"] for result in right}),
        "succeeded": sum(result["status"] == "success" for result in right),
        "queries": sum(result["queries"] for result in found),
        "added": len(added),
        "rows": len(before) + len(added),
    }
    write_json(path, about)  # last: with it the round is done
    return FoundRows(file, about)


def _words(run: Run, data: TaskData, options: AdversarialOptions) -> Mapping[int, Sequence[str]]:
    """By label the words of training texts that speak for another one, as where a run is attacked."""
    column, seed = len(data.text_columns) - 1, options.attack_seed
    return Target(run, data, data.splits["train"], None, seed, column, options.attacked_label(data.labels)).words(seed)


def _new_rows(
    results: Sequence[Mapping[str, Any]],
    number: int,
    before: Sequence[Mapping[str, Any]],
    reported: set[Key],
    labels: Sequence[str],
) -> list[dict[str, Any]]:
    """The adversarial rows of a round, each text once."""
    there, rows = {tuple(row["texts"]) for row in before}, []
    for result in results:
        texts = tuple(result["perturbed"])
        if result["status"] != "success" or texts in there or tuple(map(text_key, texts)) in reported:
            continue
        there.add(texts)
        rows.append(
            {
                "id": f"round-{number}:{result['attack']}:{result['id']}",
                "original_id": result["id"],
                "round": number,
                "attack": result["attack"],
                "label": labels[result["gold"]],
                "original": result["texts"],
                "texts": list(texts),
                "words": result["words"],
                "changes": result["changes"],
            }
        )
    return rows
