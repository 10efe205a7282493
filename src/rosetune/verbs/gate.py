"""Hold a finished run to limits, for continuous integration: exit code 1 where one does not hold."""

import argparse
import sys
from pathlib import Path

from rosetune.runs.gate_limits import Limits
from rosetune.verbs._shared import add_fields, given_fields, print_json, telling_new_folders

EPILOG = """\
exit codes: 0 all limits hold, 1 one does not, 2 wrong use (a set or a run is missing).
Nothing is predicted, and no model is loaded: evaluate and attack the run first.

examples:
  rosetune gate RUN --min_accuracy 0.9 --max_drop 5 --max_flip_rate 0.1
  rosetune gate RUN --min_recall 0.8 --max_false_positive_rate 0.05
  rosetune gate RUN --baseline LAST --max_decline 2 --junit gate.xml
  rosetune gate RUN --min_accuracy_under_attack 0.6 --words 2
"""


_FLAGS = ("junit", "markdown", "json", "config")  # what a file of limits cannot hold


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's flags."""
    parser.add_argument("run_folder", metavar="RUN", help="folder of a finished run")
    parser.add_argument("--baseline", metavar="RUN", help="a run that it must not be shown to be worse than")
    add_fields(parser.add_argument_group("limits"), Limits)
    parser.add_argument("--config", metavar="FILE", help="YAML of limits and baseline; the command line goes on top")
    parser.add_argument("--junit", metavar="FILE", help="write JUnit XML")
    parser.add_argument("--markdown", metavar="FILE", help="write Markdown")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")


def run(known: argparse.Namespace, rest: list[str]) -> None:
    """Judge, write and print; a limit that does not hold ends with exit code 1."""
    from rosetune.runs.values import RunError, read_yaml

    options = {} if known.config is None else read_yaml(known.config)
    for name in _FLAGS:
        if name in options:
            raise RunError(f"{known.config}: {name} is no limit but a flag of the command: give --{name} there")
    baseline = options.pop("baseline", None) if known.baseline is None else known.baseline
    options.pop("baseline", None)
    if not isinstance(baseline, str | None):
        raise RunError(f"{known.config}: baseline must be the folder of a run, not {baseline!r}")
    limits = Limits.of({**options, **given_fields(known, Limits)}, known.config or "limits")
    limits.check(with_baseline=baseline is not None)  # before scipy is loaded
    _check_files(known.junit, known.markdown)

    import dataclasses
    from contextlib import ExitStack

    from rosetune._files import replacing
    from rosetune.report.console import console
    from rosetune.report.gate import gate_junit, gate_markdown, print_gate
    from rosetune.runs.gate import gate

    verdict = gate(known.run_folder, baseline=baseline, **dataclasses.asdict(limits))
    with telling_new_folders(known.junit, known.markdown), ExitStack() as written:  # both files, or none
        for path, shown in ((known.junit, gate_junit), (known.markdown, gate_markdown)):
            if path is None:
                continue
            try:
                written.enter_context(replacing(path)).write_text(shown(verdict), encoding="utf-8")
            except OSError as error:
                raise RunError(f"{path} cannot be written: {error.strerror or error}") from error
    if known.json:
        print_json(verdict.as_json())
    else:
        print_gate(console(), verdict)
    if not verdict.passed:
        sys.exit(1)


def _check_files(*paths: str | None) -> None:
    """Refuse what cannot be a file of its own, before anything is written."""
    from rosetune.runs.values import RunError

    given = [path for path in paths if path is not None]
    for path in given:
        if Path(path).is_dir():
            raise RunError(f"{path or repr(path)} cannot be written: give the name of a file, not of a folder")
    if len({Path(path).resolve() for path in given}) < len(given):
        raise RunError(f"--junit and --markdown both name {given[0]}: give each a file of its own")
