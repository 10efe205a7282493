"""The command line. It parses and calls; heavy imports live inside the verbs, so that --help answers at once."""

import argparse
import re
import sys
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import NoReturn

from rosetune import __version__
from rosetune.verbs import attack, compare, controls, demo, evaluate, predict, train
from rosetune.verbs import list as listing

_VERBS = {
    "train": train,
    "evaluate": evaluate,
    "attack": attack,
    "controls": controls,
    "compare": compare,
    "predict": predict,
    "list": listing,
    "demo": demo,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one verb.

    An error that a user can act on is one line on standard error and exit code 2; --traceback shows where it arose.
    """
    words = [_underscored(word) for word in (sys.argv[1:] if arguments is None else arguments)]
    parser = _parser()
    verb = next((word for word in words if not word.startswith("-")), None)
    if verb is not None and verb not in _VERBS:
        parser.error(f"there is no verb {verb!r}: {_guess(verb, _VERBS) or 'give one of ' + ', '.join(_VERBS)}")
    known, rest = parser.parse_known_args(words)
    if rest and known.verb != "train":
        guess = _guess(rest[0].partition("=")[0], known.options)
        parser.error(f"unknown: {' '.join(rest)}" + (f": {guess}" if guess else ""))
    try:
        known.run(known, rest)
    except BrokenPipeError:
        sys.exit(141)
    except KeyboardInterrupt:
        resumes = "" if known.verb in ("predict", "list") else "; the same command goes on where it stopped"
        print(f"\nrosetune: interrupted{resumes}", file=sys.stderr)
        sys.exit(130)
    except (ValueError, OSError) as error:
        # DataError, RunError, the methods' own and the system's: all say what was wrong.
        if known.traceback:
            raise
        print(f"rosetune: error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)


def _underscored(word: str) -> str:
    """--data-dir as --data_dir: both spellings do."""
    return re.sub(r"^--[A-Za-z][\w-]*(?=$|=)", lambda match: "--" + match[0][2:].replace("-", "_"), word)


def _guess(word: str, known: Iterable[str]) -> str | None:
    near = get_close_matches(word, known, n=1)
    return f"did you mean {near[0]}?" if near else None


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
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        sub.add_argument("--traceback", action="store_true", help="show the traceback of an error")
        verb.add_arguments(sub)
        sub.set_defaults(run=verb.run, options=[*sub._option_string_actions])
    return parser
