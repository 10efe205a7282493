"""Attack finished runs: look for small changes to their texts that mislead the model."""

import argparse
from collections.abc import Callable

from rosetune.experiments.attack_options import AttackOptions
from rosetune.verbs._shared import add_fields, add_moved, given_fields, moved_data, print_json

EPILOG = """\
attacks (`rosetune list attacks` says more): deepwordbug (misspellings),
disguises (look-alikes, invisible characters, spaced letters, leetspeak,
repeated letters), benign_append and benign_prepend (harmless words beside
the text), pwws, textfooler and genetic (synonyms), random (a control:
misspellings at random), all of them as `all`, and textattack:NAME for a
recipe of TextAttack, where that is installed.

A filter is attacked on what it has to catch:
  rosetune attack RUN --attack disguises,benign_append --attack_class spam

Of pairs the last text is attacked: the hypothesis, second question or second
sentence, of QNLI the sentence (in a short question every word tells what is asked).

Results are kept in RUN/attacks. A killed attack goes on, a finished one is not
repeated, and --examples 400 after 200 attacks the other 200. With several runs
of a task, each model is also tried on what fooled the others."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's flags."""
    parser.add_argument("runs", nargs="+", metavar="RUN", help="folder of a finished run")
    add_fields(
        parser,
        AttackOptions,
        examples={"type": _count_or("all")},
        budget={"type": _count_or("none")},
        seed={"type": int},
        added_words={"type": int},
        max_share={"type": float},
        protected={"nargs": "+"},
        batch_size={"type": int},
    )
    parser.add_argument("--recipe", help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    add_moved(parser)


def run(known: argparse.Namespace, rest: list[str]) -> None:
    """Attack and print."""
    import sys

    from rosetune.experiments.lock import check_free
    from rosetune.runs.run import Run, RunError

    if known.recipe is not None:
        raise RunError(
            f"an attack is named by --attack: rosetune attack {' '.join(known.runs)} --attack {known.recipe}"
        )
    given = given_fields(known, AttackOptions)
    if "attack" not in given:
        raise RunError("--attack is missing: give attacks by name, such as deepwordbug, or all")
    given["attack"] = tuple(part.strip() for part in given["attack"].split(",") if part.strip())
    if "noises" in given:
        given["noises"] = tuple(part.strip() for part in given["noises"].split(",") if part.strip())
    given |= {"protected": tuple(given["protected"])} if "protected" in given else {}
    options, runs = AttackOptions(**given), [Run.open(folder) for folder in known.runs]
    for opened in runs:
        check_free(opened.folder)

    from rosetune.experiments.attack import attack_runs
    from rosetune.report.attacks import print_attacks
    from rosetune.report.console import console

    attacked = attack_runs(runs, options, lambda line: print(line, file=sys.stderr), **moved_data(known))
    if known.json:
        print_json(attacked.as_json())
    else:
        print_attacks(console(), attacked)


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
