"""Attacks as a person reads them."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from rosetune.experiments.attack import Attacked
from rosetune.experiments.attack_options import AttackOptions
from rosetune.experiments.tables import console, interval_cell, make_table, percent, set_title
from rosetune.robustness.attacks.text import Text as Words

__all__ = ["attack_table", "example_lines", "print_attacks", "transfer_table"]

SHOWN = 3  # adversarial examples
AROUND = 60  # characters of unchanged text beside a change
WIDE = 110  # columns from which an interval stands beside its figure
_LACKS = {
    "pwws": "its check of the part of speech, and its swap of named entities.",
    "genetic": "its language model, which keeps the neighbours that fit their context.",
    "textfooler": "its checks of the part of speech and of the similarity of the sentences, and neighbours that are "
    "not in the file. Its success rate is not comparable with published ones.",
}
_EXPLAINED = "success, queries (mean): of the rows that the model gets right; words: share that a success changed."
_TRANSFER = (
    "Left: the run they were found on; above: the run they are tried on. % fooled, of so many whose unchanged text it "
    "gets right."
)
_FLAT = "A search by confidence stalls on a model whose confidence is merely flat, robust or not"
_OTHERS = "then few examples are found on it, but those found on others fool it."
_ALONE = "name a second run in the same call to see what fooled the one tried on the other."


def print_attacks(attacked: Attacked, options: AttackOptions) -> None:
    """Tables of all attacks and of the transfer, what they lack, and a few adversarial examples."""
    out = console()
    out.print(attack_table(attacked, options, out.width))
    out.print(Text(_EXPLAINED))
    for line in _vain(attacked, options):
        out.print(Text(line))
    if attacked.transfer:
        out.print()
        out.print(transfer_table(attacked.transfer, out.width))
        out.print(Text(_TRANSFER))
    out.print(Text(f"{_FLAT}: {_OTHERS if attacked.transfer else _ALONE}"))
    for name in options.recipes:
        if name in _LACKS:
            out.print(Text(f"Of the paper's {name} this lacks {_LACKS[name]}"))
    examples = [*islice(example_lines(attacked), SHOWN)]
    if examples:
        out.print(Text("\nAdversarial examples, [word -> what stands there instead]"))
    for what, text in examples:
        out.print(Padding(Text(what, "dim"), (0, 0, 0, 2), expand=False))
        out.print(Padding(text, (0, 0, 0, 4), expand=False))


def attack_table(attacked: Attacked, options: AttackOptions, width: int) -> Table:
    """A line for every recipe, or where there are several runs, for every run under every recipe."""
    gap = " " if width >= WIDE else "\n"
    budget = "without a budget" if options.budget is None else f"at most {options.budget} queries a row"
    names = _short_names([*attacked.figures])
    title = f"Attacks on {set_title(options.set_name)}, {budget}"
    title = title if len(names) > 1 else f"{names[next(iter(names))]}: {title[0].lower()}{title[1:]}"
    shares = (f"under attack %{gap}\\[95%]", f"success %{gap}\\[95%]")
    table = _named_table(title, ["attack", "n", "before %", *shares, "queries", "words %"])
    for recipe in options.recipes:
        if len(names) > 1:
            table.add_row(Text(recipe))
        for run, name in names.items():
            f = attacked.figures[run][recipe]
            under, success = (
                interval_cell(f[share], f[f"{share}_low"], f[f"{share}_high"], gap)
                for share in ("accuracy_under_attack", "attack_success_rate")
            )
            queries = "-" if f["mean_queries"] is None else f"{f['mean_queries']:.0f}"
            cells = (percent(f["clean_accuracy"]), under, success, queries, percent(f["mean_share_changed"]))
            table.add_row(Text(f"  {name}" if len(names) > 1 else recipe), str(f["n"]), *cells)
    return table


def _vain(attacked: Attacked, options: AttackOptions) -> Iterator[str]:
    """Rows that withstood an attack for want of words or queries."""
    names = _short_names([*attacked.figures])
    for run, recipes in attacked.figures.items():
        for recipe, f in recipes.items():
            reasons = ("nothing_to_change", "had no word to change"), ("out_of_budget", "used up the budget")
            counts = [f"{f[key]} {said}" for key, said in reasons if f[key]]
            if counts:
                yield f"{names[run]}, {recipe}: of the rows that withstood, {' and '.join(counts)}."


def transfer_table(matrices: Mapping[str, Mapping[str, Mapping[str, Mapping[str, Any]]]], width: int) -> Table:
    """Which share of the adversarial examples found on each run fools each other run of its task."""
    runs = dict.fromkeys(run for matrix in matrices.values() for run in matrix)
    names = _short_names([*runs])
    heads = [*names.values()]
    if max(map(len, heads)) + sum(2 + max(len(name), 12) for name in heads) > width - 4:
        names = {run: f"{number} {name}" for number, (run, name) in enumerate(names.items(), 1)}
        heads = [str(number) for number in range(1, len(runs) + 1)]
    table = _named_table("Transfer of adversarial examples", ["attack", *heads])
    for recipe, matrix in matrices.items():
        table.add_row(Text(recipe))
        for source, row in matrix.items():
            cells = [_transferred(row.get(run)) if run != source else "" for run in runs]
            table.add_row(Text(f"  {names[source]}"), *cells)
    return table


def example_lines(attacked: Attacked) -> Iterator[tuple[str, Text]]:
    """Adversarial examples of other rows each, from one attack after the other: what it is, and the text."""
    attacks = [
        (run, recipe, iter([result for result in results if result["status"] == "success"]))
        for run, recipes in attacked.results.items()
        for recipe, results in recipes.items()
    ]
    shown = set()
    while attacks:
        run, recipe, successes = attacks.pop(0)
        result = next((result for result in successes if result["id"] not in shown), None)
        if result is not None:
            shown.add(result["id"])
            attacks.append((run, recipe, successes))
            labels = attacked.labels[run]
            kept, taken = labels[result["gold"]], labels[result["perturbed_prediction"]]
            yield f"{recipe}: {kept}, taken for {taken}", _marked(result)


def _named_table(title: str, columns: Sequence[str]) -> Table:
    table = make_table(title, columns, collapse_padding=True)
    table.columns[0].no_wrap, table.columns[0].overflow = False, "fold"
    return table


def _transferred(cell: Mapping[str, Any] | None) -> str:
    fooled = None if cell is None else cell["fooled"] or {"value": None, "n": 0}
    return "" if fooled is None else f"{percent(fooled['value'])} of {fooled['n']}"


def _marked(result: Mapping[str, Any]) -> Text:
    line = Text()
    words, end = Words(result["texts"][result["column"]]), 0
    for position, before, after in result["changes"]:
        # TextAttack also adds words, before this one or at the end.
        start = words.span(position)[0] if position < len(words) else len(words.text)
        stop = words.span(position)[1] if before else start
        line.append(_shortened(words.text[end:start], end == 0))
        line.append(f"[{_visible(before)} -> {_visible(after)}]", "bold")
        end = stop
    return line.append(_shortened(words.text[end:], end == 0))


def _shortened(text: str, first: bool) -> str:
    """Unchanged text, without its middle where it is long."""
    if len(text) > 2 * AROUND:
        text = ("" if first else text[:AROUND]) + " … " + text[-AROUND:]
    return _visible(text)


def _visible(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text)


def _short_names(runs: Sequence[str]) -> dict[str, str]:
    """The runs by the names of their folders, where these differ."""
    folders = [Path(run).resolve().name for run in runs]
    return dict(zip(runs, folders if len(set(folders)) == len(runs) else runs, strict=True))
