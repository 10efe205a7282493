"""Attacks as a person reads them."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.text import Text

from rosetune.report.console import Grid, difference_cell, interval_cell, percent, print_grid, set_title, share_cell
from rosetune.robustness.attacks.changed_words import AT_MOST, limit_title
from rosetune.robustness.attacks.recipes import ADDS_WORDS
from rosetune.robustness.attacks.summary import Transferred, vain
from rosetune.robustness.attacks.text import Text as Words
from rosetune.runs.attacked import Attacked, transferred
from rosetune.runs.changed import differences_at_words
from rosetune.runs.compare import common_success
from rosetune.runs.run import Run

__all__ = [
    "TRIED_ON_THE_OTHER",
    "UPPER_BOUND",
    "attack_grid",
    "class_grid",
    "example_lines",
    "fooled_share",
    "print_attacks",
    "success_grid",
    "transfer_grid",
    "words_differences_grid",
    "words_grid",
]

SHOWN = 3  # adversarial examples
CLASSES = 6  # more are in the JSON
AROUND = 60  # characters of unchanged text beside a change
_LACKS = {
    "pwws": "its check of the part of speech, and its swap of named entities.",
    "genetic": "its language model, which keeps the neighbours that fit their context.",
    "textfooler": "its checks of the part of speech and of the similarity of the sentences, and neighbours that are "
    "not in the file. Its success rate is not comparable with published ones.",
}
_ADDED = (
    "What {} adds leaves the text as it is. Nobody has judged that it still means what it did: harmless words do not "
    "undo spam, but a word of praise behind a bad review may turn what it says."
)
_EXPLAINED = "success, queries (mean): of the rows that the model gets right; words: share that a success changed."
_TRANSFER = (
    "Left: the run they were found on; above: the run they are tried on. % fooled, of so many whose unchanged text it "
    "gets right."
)
TRIED_ON_THE_OTHER = (
    "Tried on the other: of the examples that fooled one, the share that fools the other, where that gets the "
    "unchanged text right (-: `rosetune attack A B` has not tried). Where few are found on a model, but those found "
    "on the other fool it, the search stalled on its confidence: that is no robustness."
)
UPPER_BOUND = (
    "Upper bounds: the searches are greedy, and another one may need fewer words. A share is of the words of each "
    "text, so that accuracy need not fall from 3 words to 10% of words: of fewer than ten words 10% allow no change."
)
_FLAT = "A search by confidence stalls on a model whose confidence is merely flat, robust or not"
_OTHERS = "then few examples are found on it, but those found on others fool it."
_ALONE = "name a second run in the same call to see what fooled the one tried on the other."


def print_attacks(out: Console, attacked: Attacked) -> None:
    """Tables of all attacks and of the transfer, what they lack, and a few adversarial examples."""
    print_grid(out, attack_grid(attacked))
    out.print(Text(_EXPLAINED))
    out.print()
    print_grid(out, words_grid(attacked))
    for line in (*_left_out(attacked), *_vain(attacked)):
        out.print(Text(line))
    by_class = class_grid(attacked)
    if by_class.rows:
        out.print()
        print_grid(out, by_class)
    if attacked.transfer:
        out.print()
        print_grid(out, transfer_grid(attacked.transfer))
        out.print(Text(_TRANSFER))
    out.print(Text(f"{_FLAT}: {_OTHERS if attacked.transfer else _ALONE}"))
    for name in attacked.attacks:
        if name in _LACKS:
            out.print(Text(f"Of the paper's {name} this lacks {_LACKS[name]}"))
    added = [name for name in attacked.attacks if name in ADDS_WORDS]
    if added:
        out.print(Text(_ADDED.format(" or ".join(added))))
    examples = [*islice(example_lines(attacked), SHOWN)]
    if examples:
        out.print(Text("\nAdversarial examples, [word -> what stands there instead]"))
    for what, text in examples:
        out.print(Padding(Text(what, "dim"), (0, 0, 0, 2), expand=False))
        out.print(Padding(text, (0, 0, 0, 4), expand=False))


def attack_grid(attacked: Attacked) -> Grid:
    """A line for every attack, or where there are several runs, for every run under every attack."""
    budget = "without a budget" if attacked.budget is None else f"at most {attacked.budget} queries a row"
    names = _short_names([*attacked.figures])
    rows = "" if attacked.attack_class is None else f", rows of {escape(attacked.attack_class)} only"
    aim = "" if attacked.target_class is None else f", to be taken for {escape(attacked.target_class)}"
    title = f"Attacks on {set_title(attacked.set)}{rows}{aim}, {budget}"
    title = title if len(names) > 1 else f"{names[next(iter(names))]}: {title[0].lower()}{title[1:]}"
    shares = ("under attack %\n[95%]", "success %\n[95%]")
    grid = Grid(title, ("attack", "n", "before %", *shares, "queries", "words %"))
    for attack in attacked.attacks:
        if len(names) > 1:
            grid.rows.append((escape(attack), "", "", "", "", "", ""))
        for run, name in names.items():
            f = attacked.figures[run][attack]
            under, success = (
                interval_cell(f[share], f[f"{share}_low"], f[f"{share}_high"])
                for share in ("accuracy_under_attack", "attack_success_rate")
            )
            queries = "-" if f["mean_queries"] is None else f"{f['mean_queries']:.0f}"
            cells = (percent(f["clean_accuracy"]), under, success, queries, percent(f["mean_share_changed"]))
            grid.rows.append((escape(f"  {name}" if len(names) > 1 else attack), str(f["n"]), *cells))
    return grid


def class_grid(attacked: Attacked) -> Grid:
    """Success by class, of so many rows that the model gets right; no lines where one class alone was attacked."""
    found = {
        (attack, run): attacked.figures[run][attack].get("by_class", {})
        for attack in attacked.attacks
        for run in attacked.figures
    }
    labels = list(dict.fromkeys(label for classes in found.values() for label in classes))
    grid = Grid("Success by class, % [95%] of the rows that it gets right", ("attack", *map(escape, labels)))
    if not 1 < len(labels) <= CLASSES:
        return grid
    names = _short_names([*attacked.figures])
    for (attack, run), classes in found.items():
        named = f"{attack}, {names[run]}" if len(names) > 1 else attack
        grid.rows.append((escape(named), *(_success(classes.get(label)) for label in labels)))
    return grid


def _success(figures: Mapping[str, Any] | None) -> str:
    if figures is None or figures["attack_success_rate"] is None:
        return "- of 0"
    ends = (figures[f"attack_success_rate{end}"] for end in ("", "_low", "_high"))
    return f"{interval_cell(*ends)}\nof {figures['attacked']}"


def _left_out(attacked: Attacked) -> Iterator[str]:
    """Rows of other classes than the one that was attacked."""
    names = _short_names([*attacked.figures])
    for run, recipes in attacked.figures.items():
        left = next(iter(recipes.values())).get("not_attacked", 0)
        if left:
            yield f"{names[run]}: {left} rows of other classes were not attacked, and are not in these figures."


def words_grid(attacked: Attacked) -> Grid:
    """What accuracy is left after at most so many changed words, of every attack on every run."""
    names = _short_names([*attacked.figures])
    columns = ("attack", *(limit_title(limit).replace(" of ", "\nof ") for limit in AT_MOST), "any\nnumber")
    grid = Grid("Accuracy in % after at most so many changed words [95%]", columns, caption=UPPER_BOUND)
    for attack in attacked.attacks:
        if len(names) > 1:
            grid.rows.append((escape(attack), *("" for _ in columns[1:])))
        for run, name in names.items():
            f = attacked.figures[run][attack]
            cells = [share_cell(f["at_most_words"][limit]) for limit in AT_MOST]
            under = [f[f"accuracy_under_attack{end}"] for end in ("", "_low", "_high")]
            grid.rows.append((escape(f"  {name}" if len(names) > 1 else attack), *cells, interval_cell(*under)))
    return grid


def words_differences_grid(a: Sequence[Run], b: Sequence[Run], titles: Mapping[str, str]) -> Grid:
    """Accuracy of two groups of runs under each attack, by the largest number of words that it changed.

    Args:
        titles: of the attacks, by the names of their sets.
    """
    columns = ("", "A %", "B %", "B - A [95%]")
    grid = Grid("Accuracy after at most so many changed words", columns, caption=UPPER_BOUND)
    for name, title in titles.items():
        grid.rows.append((escape(title), "", "", ""))
        for limit, d in differences_at_words(a, b, name).items():
            grid.rows.append(
                (f"  {limit_title(str(limit))}", percent(d.a.value), percent(d.b.value), difference_cell(d))
            )
    return grid


def _vain(attacked: Attacked) -> Iterator[str]:
    """Rows that withstood an attack for want of words or queries."""
    names = _short_names([*attacked.figures])
    for run, recipes in attacked.figures.items():
        for recipe, f in recipes.items():
            if found := vain(f, recipe in ADDS_WORDS):
                yield f"{names[run]}, {recipe}: {found}."


def transfer_grid(matrices: Mapping[str, Mapping[str, Mapping[str, Transferred]]]) -> Grid:
    """Which share of the adversarial examples found on each run fools each other run of its task."""
    runs = dict.fromkeys(run for matrix in matrices.values() for run in matrix)
    names = _short_names([*runs])
    grid = Grid("Transfer of adversarial examples, % fooled [95%]", ("attack", *names.values()))
    for attack, matrix in matrices.items():
        grid.rows.append((escape(attack), *("" for _ in runs)))
        for source, row in matrix.items():
            cells = (_transferred(row.get(run)) if run != source else "" for run in runs)
            grid.rows.append((escape(f"  {names[source]}"), *cells))
    return grid


def success_grid(a: Sequence[Run], b: Sequence[Run], titles: Mapping[str, str]) -> Grid:
    """Attacks on two groups of runs, and what was found on each tried on the other.

    Args:
        titles: of the attacks, by the names of their sets.
    """
    columns = ("", "rows", "on A %", "on B %", "found on A,\ntried on B %", "found on B,\ntried on A %")
    grid = Grid("Attack success on the rows that both get right", columns)
    for name, title in titles.items():
        n, rate_a, rate_b = common_success(a, b, name)
        across = (percent(fooled_share(*sides, name)) for sides in ((a, b), (b, a)))
        grid.rows.append((escape(title), str(n), percent(rate_a), percent(rate_b), *across))
    return grid


def fooled_share(sources: Sequence[Run], targets: Sequence[Run], name: str) -> float | None:
    """Of what an attack found on the sources, the share that fools the targets; pooled over pairs of seeds."""
    cells = [transferred(source, target, name) for source, target in zip(sources, targets, strict=True)]
    fooled = [cell.fooled for cell in cells if cell is not None and cell.fooled is not None]
    n = sum(e.n for e in fooled)
    return sum(e.n * e.value for e in fooled) / n if n and len(fooled) == len(cells) else None


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


def _transferred(cell: Transferred | None) -> str:
    if cell is None:
        return ""
    if cell.fooled is None:
        return "- of 0"
    e = cell.fooled
    return f"{interval_cell(e.value, e.low, e.high)}\nof {e.n}"


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
