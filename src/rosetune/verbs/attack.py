"""Attack finished runs: look for small changes to their texts that mislead the model."""

import argparse
from collections.abc import Callable

from rosetune.verbs._shared import add_moved, moved_data

EPILOG = """\
recipes: deepwordbug (misspellings), pwws, textfooler and genetic (synonyms),
random (a control: misspellings at random), all five as `all`, and
textattack:NAME for a recipe of TextAttack, where that is installed.

Results are kept in RUN/attacks. A killed attack goes on, a finished one is not
repeated, and --examples 400 after 200 attacks the other 200. With several runs
of a task, each model is also tried on what fooled the others."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's flags."""
    parser.add_argument("runs", nargs="+", metavar="RUN", help="folder of a finished run")
    parser.add_argument("--recipe", metavar="A,B", required=True, help="attacks by name, or all (see below)")
    parser.add_argument(
        "--examples",
        metavar="N",
        default=200,
        type=_count_or("all"),
        help="rows drawn at random, or all (default: 200)",
    )
    parser.add_argument(
        "--budget",
        metavar="N",
        default=1000,
        type=_count_or("none"),
        help="largest number of texts the model is asked about for a row, or none as in the papers (default: 1000)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of rows and attacks (default: 0)")
    parser.add_argument("--set", metavar="NAME", default="clean", help="evaluation set (default: clean)")
    parser.add_argument("--synonyms", metavar="FILE", help='JSON file {"word": ["other", ...]}, or wordnet')
    parser.add_argument("--max_share", type=float, metavar="X", help="largest share of words changed, such as 0.3")
    parser.add_argument(
        "--protected", metavar="REGEX", nargs="+", default=[], help="words that a match touches stay as they are"
    )
    parser.add_argument(
        "--column",
        metavar="NAME",
        help="text column to attack, or its number from 1 (default: the last; of pairs the hypothesis, second "
        "question or second sentence, of QNLI the sentence: in a short question every word tells what is asked)",
    )
    parser.add_argument(
        "--batch_size", type=int, metavar="N", help="texts at a time (default: 16 on the CPU, 128 elsewhere)"
    )
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    add_moved(parser)


def run(known: argparse.Namespace, rest: list[str]) -> None:
    """Attack and print."""
    import json
    import sys

    from rosetune.experiments.attack import AttackOptions, attack_runs
    from rosetune.experiments.attack_tables import print_attacks

    options = AttackOptions(
        recipes=tuple(part.strip() for part in known.recipe.split(",") if part.strip()),
        examples=known.examples,
        budget=known.budget,
        seed=known.seed,
        set_name=known.set,
        synonyms=known.synonyms,
        max_share=known.max_share,
        protected=tuple(known.protected),
        column=known.column,
        batch_size=known.batch_size,
    )
    moved = moved_data(known)
    attacked = attack_runs(known.runs, options, lambda line: print(line, file=sys.stderr), **moved)
    if known.json:
        print(json.dumps({"runs": attacked.figures, "transfer": attacked.transfer}, indent=2, ensure_ascii=False))
        return
    print_attacks(attacked, options)


def _count_or(word: str) -> Callable[[str], int | None]:
    """A type for argparse: a whole number, or None for the word."""

    def parse(text: str) -> int | None:
        if text.lower() == word:
            return None
        try:
            return int(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{text!r} is neither a whole number nor {word!r}") from error

    return parse
