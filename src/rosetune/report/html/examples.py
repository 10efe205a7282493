"""Adversarial examples for the page: which words an attack changed, packed so that many fit."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rosetune.report.html.groups import Group, Kept
from rosetune.robustness.attacks.text import Text
from rosetune.runs.sets import SetName
from rosetune.runs.titles import titles_of

__all__ = ["Packed", "changed_spans", "pack", "script_json"]

Row = list[Any]
TEXTS = 6  # their place in a row
BROKEN = 0.7  # share of the room for texts that were broken, where others withstood
FULL = 0.98  # share of the room, beyond which nothing smaller is looked for
_SURROGATES = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Packed:
    """Examples as JSON, and how many there were.

    Attributes:
        json: safe within a script element; see ``report.js`` for its fields.
        broken, held: how many texts it holds that an attack broke, and that withstood.
        all_broken, all_held: how many there were.
        wrong: texts that were classified wrongly before any attack; none is shown.
    """

    json: str
    broken: int
    held: int
    all_broken: int
    all_held: int
    wrong: int

    @property
    def left_out(self) -> int:
        """Broken and held ones that it does not hold."""
        return self.all_broken + self.all_held - self.broken - self.held


def pack(tasks: Mapping[str, Sequence[Group]], room: int) -> Packed:
    """As many examples as there is room for, from all runs and attacks in turn, the broken ones first.

    Args:
        room: in bytes of UTF-8.
    """
    runs, attacks = list[dict[str, str]](), dict[str, int]()
    turns: dict[str, list[Iterator[Row]]] = {"success": [], "failed": []}
    found = Counter[str]()
    for task, groups in tasks.items():
        for group, member in ((own, member) for own in groups for member in own.members):
            for name in filter(None, (SetName.parse(name).attack for name in member.figures)):
                number, results = attacks.setdefault(name, len(attacks)), member.run.attacks[name][1]
                found.update(result["status"] for result in results)
                for status, queue in turns.items():
                    part = [result for result in results if result["status"] == status]
                    queue.append(_rows(part, len(runs), number, member))
            runs.append({"task": task, "name": f"{group.name}, seed {member.run.seed}", "run": str(member.run)})
    called = _called(tasks, attacks)
    used, texts, rows, shown = _size([runs, called]) + 60, dict[str, int](), list[Row](), Counter[str]()
    for status, queue in turns.items():
        most = BROKEN * room if status == "success" and found["failed"] else room
        for row in _in_turns(queue):
            here: list[str] = row[TEXTS]
            new = [text for text in dict.fromkeys(here) if text not in texts]
            cost = _size([*row[:TEXTS], [9999] * len(here), *row[TEXTS + 1 :]]) + sum(_size(text) + 1 for text in new)
            if used + cost <= most:
                used += cost
                numbers = [texts.setdefault(text, len(texts)) for text in here]
                rows.append([*row[:TEXTS], numbers, *row[TEXTS + 1 :]])
                shown[status] += 1
            elif used > FULL * most:
                break
    value = {"runs": runs, "attacks": called, "texts": [*texts], "rows": rows}
    return Packed(
        script_json(value), shown["success"], shown["failed"], found["success"], found["failed"], found["skipped"]
    )


def _called(tasks: Mapping[str, Sequence[Group]], attacks: Iterable[str]) -> list[str]:
    """The attacks as a person calls them."""
    names = [SetName.of_attack(name).name for name in attacks]
    titles = titles_of([run for groups in tasks.values() for group in groups for run in group.runs], names)
    return [titles[name].removeprefix("under ") for name in names]


def script_json(value: Any) -> str:
    """JSON for a script element: no text can end it or begin a comment, and none is half of a surrogate pair."""
    text = _SURROGATES.sub("\N{REPLACEMENT CHARACTER}", json.dumps(value, ensure_ascii=False, separators=(",", ":")))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def changed_spans(result: Mapping[str, Any]) -> list[list[Any]]:
    """Where the attacked text was changed: (start, stop, what stands there instead), in characters."""
    words, end, spans = Text(result["texts"][result["column"]]), 0, list[list[Any]]()
    for position, before, after in sorted(result["changes"], key=lambda change: change[0]):
        # TextAttack also adds words, before this one or at the end.
        start = words.span(position)[0] if position < len(words) else len(words.text)
        stop = words.span(position)[1] if before and position < len(words) else start
        start = max(start, end)
        end = max(stop, start)
        spans.append([start, end, after])
    return spans


def _rows(results: Sequence[Mapping[str, Any]], run: int, attack: int, member: Kept) -> Iterator[Row]:
    """Run, attack, whether broken, id, labels before and after, confidence in the right one before and after in %,
    texts, number of the attacked text, changes."""
    labels = member.run.labels
    for result in results:
        gold, column = result["gold"], result["column"]
        sure = [round(100 * result[key][gold]) for key in ("probabilities", "perturbed_probabilities")]
        said, broken = [labels[gold], labels[result["perturbed_prediction"]]], int(result["status"] == "success")
        yield [run, attack, broken, str(result["id"]), said, sure, result["texts"], column, changed_spans(result)]


def _in_turns(queue: list[Iterator[Row]]) -> Iterator[Row]:
    """One of each, until none has any."""
    while queue:
        left = []
        for rows in queue:
            row = next(rows, None)
            if row is not None:
                left.append(rows)
                yield row
        queue = left


def _size(value: Any) -> int:
    return len(script_json(value).encode()) + 1
