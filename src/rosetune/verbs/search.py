"""Choose options on held-out training rows, and keep what is reported out of reach."""

import argparse

from rosetune._axes import AXES
from rosetune.experiments.search_options import SearchOptions, require_optuna
from rosetune.runs.config import RUN_OPTIONS
from rosetune.verbs._shared import add_fields, add_run_arguments, given_fields, run_config, seeds_of

EPILOG = """\
A search holds a part of the training rows out and judges every trial on them alone.
Arguments of transformers' Trainer follow under their own names, as in `rosetune train`; they
are the same in every trial. A killed search goes on when the same command is given again.

spaces:
  paper                              the paper's grid: learning rate and one threshold
  paper_each                         with a threshold for each mask of the ensemble
  paper_rates                        the learning rates alone
  learning_rate=log:1e-5:1e-4        a range; A:B for equal differences, A:B:STEP for steps
  objective_kwargs.alpha=0.5,1,2     values
  space.yaml                         such lines in YAML: `learning_rate: log:1e-5:1e-4`

examples:
  rosetune search --recipe rose-ensemble/roberta-base/rte --space paper \\
      --trials 30
  rosetune search --task demo --model_name_or_path demo --update_mask rose \\
      --max_steps 60 --rungs 3 \\
      --space learning_rate=log:1e-5:1e-4 update_mask_kwargs.upper=0.1:0.9:0.1
  rosetune train --config SEARCH/best.yaml
"""

_RUN = tuple(name for name in RUN_OPTIONS if name not in ("given", "labels", "sets"))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's own flags; the Trainer's follow under their own names."""
    parser.add_argument("--space", metavar="SPACE", nargs="+", default=[], help="what is tried (see below)")
    add_fields(
        parser,
        SearchOptions,
        trials={"type": int},
        rungs={"type": int},
        search_seed={"type": int},
    )
    parser.add_argument("--seed", metavar="N[,N]", help="of the training; several train one run each for every trial")
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_run_arguments(
        parser,
        _RUN,
        AXES,
        output_dir="folder of the search (default: runs/<task>/search/<method>-<hash>)",
        held_out="share or number of training rows to judge on (default: a fifth, at most 1000)",
    )


def run(known: argparse.Namespace, rest: list[str]) -> None:
    """Search and print."""
    import json
    import sys

    from rosetune.experiments.search_space import read_space

    require_optuna()
    options, space = SearchOptions(**given_fields(known, SearchOptions)), read_space(known.space)
    seeds = seeds_of(known.seed)
    asked = run_config(known, (*_RUN, *AXES), rest)

    from rosetune.experiments.search import run_search
    from rosetune.report.console import console, print_grid
    from rosetune.report.search import result_lines, trials_grid

    found = run_search(asked, space, options, seeds, report=lambda line: print(line, file=sys.stderr))
    if known.json:
        print(json.dumps(found, indent=2, ensure_ascii=False))
        return
    out = console()
    print_grid(out, trials_grid(found))
    for line in result_lines(found):
        out.print(line, markup=False, soft_wrap=line.startswith("Train it"))  # a command is copied whole
