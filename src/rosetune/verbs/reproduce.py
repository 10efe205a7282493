"""Do the plan behind one of the papers' tables, and show the table."""

import argparse
from typing import Any

from rosetune.verbs._plans import add_plan_arguments

EPILOG = """\
table1        ROSE and others on GLUE and AdvGLUE
table2        ROSE on top of R-Drop
table3        gamma, which weighs the two risks of ROSE-Ensemble
table4        how often two dropout passes disagree, over training
figure1, figure2  the loss around vanilla and ROSE
figure3       syntax or surface: probes, whose sentences are generated
figure4       the loss on the line from ROSE to vanilla
rift          RIFT against adversarial training, under genetic and PWWS
match_tuning  Match-Tuning under attack, with rare and with flipped labels
hardening     no paper's: what helps against noise and attacks, and what ROSE
              adds; its --data_dir also holds sms_spam/sms_spam.tsv
price         no paper's: what sketched and economical masks of ROSE lose

Scales: smoke ends within minutes and shows that the plan works; small takes
MiniLM and hours of a few cores; paper is the papers' protocol. What a scale
leaves out is printed below its result. Options are chosen on held-out training
rows. The plan resumes like any other: see `rosetune sweep --help`.

examples:
  rosetune reproduce table1 --scale smoke
  rosetune reproduce table1 --data_dir glue/ --tasks sst2,rte --seeds 1,2,3 \\
      --dry_run
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's flags."""
    parser.add_argument("name", metavar="NAME", help="of the result, see below")
    parser.add_argument("--scale", metavar="NAME", default="small", help="smoke, small (default) or paper")
    parser.add_argument("--model_name_or_path", "--model", metavar="MODEL", help="in the place of the plan's")
    parser.add_argument("--tasks", metavar="A,B", help="some of the plan's (default: all)")
    parser.add_argument("--seeds", metavar="N,N", help="in the place of the plan's")
    parser.add_argument("--data_dir", metavar="DIR", help="of GLUE's and AdvGLUE's files; figure3: of MSGS's")
    parser.add_argument("--synonyms", metavar="FILE", help="of attacks and of RIFT: a JSON file, or wordnet")
    parser.add_argument("--show_plan", action="store_true", help="print the plan's YAML, for `rosetune sweep`")
    add_plan_arguments(parser)


def run(known: argparse.Namespace, rest: list[str]) -> None:
    """Do the plan and print its table."""
    from rosetune.experiments.reproduce import filled_plan, reproduction
    from rosetune.runs.values import names
    from rosetune.verbs._plans import carry_out, check_executor

    check_executor(known)
    asked: dict[str, Any] = {name: getattr(known, name) for name in ("data_dir", "synonyms", "output_dir")}
    asked |= {"tasks": names("tasks", known.tasks)}
    if known.show_plan:
        _refuse_beside_plan(known)
        print(filled_plan(known.name, known.scale, **asked), end="")
        return
    plan = reproduction(known.name, known.scale, model=known.model_name_or_path, seeds=_seeds(known.seeds), **asked)
    carry_out(known, plan)


def _refuse_beside_plan(known: argparse.Namespace) -> None:
    """Refuse what the text of a plan has no place for.

    Raises:
        RunError: see there.
    """
    from rosetune.experiments.reproduce import filled_names
    from rosetune.runs.values import RunError

    filled = filled_names(known.name, known.scale)
    for name in ("tasks", "seeds", "model_name_or_path", "data_dir", "synonyms", "output_dir"):
        if getattr(known, name) is not None and name not in filled:
            raise RunError(
                f"--show_plan prints the whole plan, for you to change: leave out --{name}, and say it in the file"
            )


def _seeds(text: str | None) -> list[int] | None:
    from rosetune.runs.values import RunError, names

    parts = names("seeds", text)
    if parts is None:
        return None
    if not parts or not all(part.isdigit() for part in parts) or len({*parts}) < len(parts):
        raise RunError(f"--seeds takes different whole numbers with commas between, not {text!r}")
    return [int(part) for part in parts]
