"""Harden a classifier against disguised and misspelled texts, from its data to a card."""

import argparse
from typing import Any

from rosetune.experiments.harden_options import END, HardenOptions
from rosetune.runs.config import RUN_OPTIONS, RunConfig
from rosetune.verbs._shared import add_fields, add_run_arguments, given_fields, run_config

EPILOG = """\
It trains the plain model, tries augmentations, attacks the best model on its own training rows
and trains on what fooled it, round by round; then both models are evaluated, attacked and compared.
Choices are made on training rows that are held out, never on the evaluation data. Where nothing
gains, the plain model is kept. As a control the plain model is also read behind a normalisation,
which undoes disguises and trains nothing. A killed hardening goes on when the same command is given again.
Arguments of transformers' Trainer follow under their own names, as in `rosetune train`; without
--num_train_epochs or --max_steps every run takes two epochs.

examples:
  rosetune harden --task my.csv --model_name_or_path demo
  rosetune harden --task my.csv --model_name_or_path demo --dry_run
  rosetune harden --task spam.csv --candidates noise --rounds 3 \\
      --attack deepwordbug --learning_rate 2e-5 \\
      --model_name_or_path FacebookAI/roberta-base
"""

_NOT = (
    "given",
    "labels",
    "max_train_samples",
    "validation_from_train",
    "label_noise",
    "imbalance",
    "adversarial_file",
)
_RUN = tuple(name for name in RUN_OPTIONS if name not in _NOT)
_METHOD = ("objective", "objective_kwargs", "update_mask", "update_mask_kwargs")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's own flags; the Trainer's follow under their own names."""
    counts = ("rounds", "max_attacked", "judge_examples", "examples", "budget", "attack_seed")
    shares = ("max_share", "attack_share", "min_gain", "max_clean_drop")
    kinds: dict[str, type] = {**dict.fromkeys(counts, int), **dict.fromkeys(shares, float)}
    typed: dict[str, dict[str, Any]] = {name: {"type": kind} for name, kind in kinds.items()}
    add_fields(parser, HardenOptions, None, **typed)
    parser.add_argument("--dry_run", action="store_true", help="show the steps and about how long they take, and exit")
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_run_arguments(
        parser,
        _RUN,
        _METHOD,
        output_dir="folder of the hardening (default: runs/<task>/harden/<method>-<hash>)",
        held_out="share or number of training rows to choose on (default: a fifth, at most 1000)",
        sets="what both are evaluated on at the end: of clean, noise, noise_curve, advglue (default: clean,noise, and "
        f"{','.join(END['noises'])} of the noise curve)",
    )


def run(known: argparse.Namespace, rest: list[str]) -> None:
    """Harden, write card and picture, and print."""
    import json
    import sys

    _refuse_several_seeds(rest)
    options = HardenOptions(**given_fields(known, HardenOptions))
    _set_end(known)
    asked = run_config(known, (*_RUN, *_METHOD), rest)

    from rosetune.report.console import console

    if known.dry_run:
        _show_plan(asked, options)
        return
    from rosetune.experiments.harden import run_harden
    from rosetune.report.harden import Hardened, print_hardened
    from rosetune.report.harden_card import write_hardened

    found = run_harden(asked, options, report=lambda line: print(line, file=sys.stderr))
    result = Hardened(found)
    files = write_hardened(result)
    if known.json:
        print(json.dumps(found, indent=2, ensure_ascii=False))
        return
    out = console()
    print_hardened(out, result)
    out.print(f"Written: {', '.join(map(str, files))}", markup=False, soft_wrap=True)


def _set_end(known: argparse.Namespace) -> None:
    """Disguises among the sets of the end, where neither the command line nor the file of options names sets."""
    from rosetune.runs.values import read_yaml

    given = {**(read_yaml(known.config) if known.config is not None else {}), **vars(known)}
    if given.get("sets") is None:
        known.sets = END["sets"]
        if given.get("noises") is None:
            known.noises = END["noises"]


def _refuse_several_seeds(rest: list[str]) -> None:
    from rosetune.runs.values import RunError

    for place, word in enumerate(rest):
        name, given, value = word.partition("=")
        value = value if given else " ".join(rest[place + 1 : place + 2])
        if name == "--seed" and "," in value:
            raise RunError(f"a hardening has one seed, not {value!r}: run it once for each, with an --output_dir each")


def _show_plan(asked: RunConfig, options: HardenOptions) -> None:
    import sys

    from rosetune.data.summary import summarise
    from rosetune.experiments.harden_estimate import foresee_steps
    from rosetune.experiments.harden_setting import prepare
    from rosetune.experiments.models import quiet_libraries
    from rosetune.report.console import console, print_grid
    from rosetune.report.harden import steps_grid

    quiet_libraries()
    setting = prepare(asked, options)
    for line in summarise(setting.whole).lines():
        print(line, file=sys.stderr)
    print("measuring a few steps of the plain run, for a minute or two", file=sys.stderr)
    print_grid(console(), steps_grid(str(setting.folder), foresee_steps(setting)))
