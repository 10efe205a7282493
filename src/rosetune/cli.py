"""The command line. It parses and calls; heavy imports live inside the verbs, so that --help answers at once."""

import argparse
import os
import re
import sys
import textwrap
import traceback
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import NoReturn

from rosetune import __version__
from rosetune._signals import Terminated, ignore_further, raised_sigterm
from rosetune.verbs import (
    analyze,
    attack,
    compare,
    controls,
    demo,
    evaluate,
    gate,
    harden,
    predict,
    reproduce,
    search,
    sweep,
    table,
    train,
)
from rosetune.verbs import list as listing
from rosetune.verbs import report as reporting

_VERBS = {
    "train": train,
    "evaluate": evaluate,
    "attack": attack,
    "controls": controls,
    "compare": compare,
    "gate": gate,
    "report": reporting,
    "sweep": sweep,
    "reproduce": reproduce,
    "table": table,
    "search": search,
    "harden": harden,
    "analyze": analyze,
    "predict": predict,
    "list": listing,
    "demo": demo,
}


_REPORT = (
    f"rosetune: this is a fault of rosetune {__version__}, not of yours. Please report it to its authors, with the "
    "lines above, the command, and the versions in environment.json or `pip freeze`."
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one verb.

    An error that a user can act on is one line on standard error and exit code 2; --traceback shows where it arose.
    Such are ``ValueError`` and ``OSError``, memory that does not suffice, and a missing package. Any other exception
    is a fault of ours: its traceback, a line on how to report it, and exit code 1. Ctrl-C and SIGTERM stop what was
    started, and end with a line and exit code 130 or 143.
    """
    words = [_underscored(word) for word in (sys.argv[1:] if arguments is None else arguments)]
    parser = _parser()
    verb = next((word for word in words if not word.startswith("-")), None)
    if verb is not None and verb not in _VERBS:
        parser.error(f"there is no verb {verb!r}: {_guess(verb, _VERBS) or 'give one of ' + ', '.join(_VERBS)}")
    known, rest = parser.parse_known_args(words)
    if rest and known.verb not in ("train", "search", "harden"):  # whose further words are the Trainer's
        stray = None if rest[0].startswith("-") else getattr(_VERBS[known.verb], "STRAY", None)
        guess = stray or _guess(rest[0].partition("=")[0], known.options)
        parser.error(f"unknown: {' '.join(rest)}" + (f": {guess}" if guess else ""))
    try:
        with raised_sigterm():
            known.run(known, rest)
            print(end="", flush=True)  # so that a closed pipe is met here
    except BrokenPipeError:
        # As of a tool that SIGPIPE ends. What is still buffered goes nowhere, or Python would complain at its end.
        if sys.stdout is not None:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except KeyboardInterrupt as interrupt:
        how, code = ("terminated", 143) if isinstance(interrupt, Terminated) else ("interrupted", 130)
        if isinstance(interrupt, Terminated):
            ignore_further()
        resumes = (
            "" if known.verb in ("predict", "list", "table", "gate") else "; the same command goes on where it stopped"
        )
        print(f"\nrosetune: {how}{resumes}", file=sys.stderr)
        sys.exit(code)
    except Exception as error:
        line = _remedied(error)
        if line is None:
            traceback.print_exception(error)
            print(_REPORT, file=sys.stderr)
            sys.exit(70)  # a gate's 1 is a limit that does not hold
        if known.traceback:
            raise
        print(f"rosetune: error: {' '.join(line.split())}", file=sys.stderr)
        sys.exit(2)


def _remedied(error: Exception) -> str | None:
    """What to tell a user who can act on an error; None where it is a fault of ours."""
    if isinstance(error, ValueError | OSError):
        return str(error)  # DataError, RunError, the methods' own and the system's: all say what was wrong
    if isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] != "rosetune":
        return f"{error}: install the package that holds it"
    # torch's own, which is not imported here, and what it says of the processor's memory.
    if isinstance(error, MemoryError) or re.search("out of memory|can't allocate memory", str(error)):
        said = (str(error).strip().splitlines() or ["more than there is"])[0]
        return (
            f"out of memory ({said}): take fewer texts at a time (--batch_size, or "
            "--per_device_train_batch_size with --gradient_accumulation_steps) or a shorter --max_length"
        )
    return None


def _underscored(word: str) -> str:
    """--data-dir as --data_dir: both spellings do."""
    return re.sub(r"^--[A-Za-z][\w-]*(?=$|=)", lambda match: "--" + match[0][2:].replace("-", "_"), word)


def _guess(word: str, known: Iterable[str]) -> str | None:
    near = get_close_matches(word, known, n=1)
    return f"did you mean {near[0]}?" if near else None


_COMMAND = re.compile(r"  (rosetune|accelerate|cat) ")  # an example of the text below the options
_LISTED = re.compile(r" |.*?\S {2,}(?=\S)")  # what is indented, or stands in columns: a line of its own


class _Help(argparse.RawDescriptionHelpFormatter):
    """Paragraphs fill the width of the terminal; what is listed keeps its lines, of which none is wider than that.

    Commands stand as they were written at any width, so that they can be pasted. No word, path or flag is broken.
    """

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return "\n".join(part for block in _blocks(text) for part in _filled(block, width, indent))

    def _split_lines(self, text: str, width: int) -> list[str]:
        return textwrap.wrap(" ".join(text.split()), width, break_on_hyphens=False)


def _blocks(text: str) -> list[str]:
    """Lines that belong together: a paragraph as one line, a command with the lines that go on after a backslash."""
    blocks: list[str] = []
    goes_on = in_paragraph = False
    for line in text.splitlines():
        plain = bool(line) and not goes_on and not _LISTED.match(line)
        if goes_on:
            blocks[-1] += f"\n{line}"
        elif plain and in_paragraph:
            blocks[-1] += f" {line}"
        else:
            blocks.append(line)
        goes_on, in_paragraph = line.endswith("\\"), plain
    return blocks


def _filled(block: str, width: int, indent: str) -> list[str]:
    if _COMMAND.match(block) or len(indent + block) <= width:
        return [indent + line for line in block.splitlines()] or [""]
    columns = re.match(r".*?\S {2,}(?=\S)", block)
    inner = indent + block[: len(block) - len(block.lstrip())]
    hanging = inner and inner + "  "
    if columns is not None and columns.end() < 0.6 * width:  # below the column that is too long
        hanging = indent + " " * columns.end()
    return textwrap.wrap(block.strip(), width, initial_indent=inner, subsequent_indent=hanging, break_on_hyphens=False)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="rosetune", description="Robust fine-tuning of pre-trained language models.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"rosetune {__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for name, verb in _VERBS.items():
        text = (verb.__doc__ or "").strip()
        sub = verbs.add_parser(
            name,
            help=text[0].lower() + text[1:].rstrip("."),
            description=text,
            epilog=getattr(verb, "EPILOG", None),
            allow_abbrev=False,
            formatter_class=_Help,
        )
        sub.add_argument("--traceback", action="store_true", help="show the traceback of an error")
        verb.add_arguments(sub)
        sub.set_defaults(run=verb.run, options=[*sub._option_string_actions])
    return parser
