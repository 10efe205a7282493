"""Look inside finished runs: landscapes, curvature, dropout, drift and the life of a mask."""

import argparse
from typing import Any

from rosetune.experiments.analysis_options import AnalysisOptions
from rosetune.verbs._shared import add_fields, add_moved, given_fields, moved_data, print_json, telling_new_folders

EPILOG = """\
RUN@STEP names a checkpoint that a run keeps. Arrays are kept in RUN/analysis, and
what is there is not computed again: the same command draws the picture anew.
`rosetune analyze WHAT --help` shows the options of each."""

_ROWS = ("examples", "split", "seed", "batch_size")
_WHAT: dict[str, tuple[str, tuple[str, ...], str]] = {
    "landscape": (
        "the loss on a plane through each model's weights (Eq. 6, Figures 1 and 2)",
        ("points", "span", "normalise", "direction_seed", "level", "equal_accuracy", *_ROWS),
        "+",
    ),
    "interpolation": (
        "the loss on the line from the first model to the second (Eq. 7, Figure 4)",
        ("points", *_ROWS),
        "2",
    ),
    "hessian": (
        "largest eigenvalue and trace of the loss's second derivatives",
        ("samples", "tolerance", "equal_accuracy", *_ROWS),
        "+",
    ),
    "disagreement": (
        "how often two dropout passes predict different labels (Table 4)",
        ("pairs", "steps", *_ROWS),
        "+",
    ),
    "masks": ("which tensors ROSE keeps: over training, by layer, against noise, size and other runs", _ROWS, "+"),
    "drift": ("distance from the pre-trained weights by layer", (), "+"),
}
_OVERRIDES: dict[str, dict[str, Any]] = {
    **{
        name: {"type": int}
        for name in ("examples", "seed", "direction_seed", "batch_size", "points", "samples", "pairs")
    },
    **{name: {"type": float} for name in ("span", "level", "tolerance")},
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """A verb of its own for each analysis."""
    kinds = parser.add_subparsers(dest="what", required=True, metavar="WHAT")
    for name, (text, fields, number) in _WHAT.items():
        sub = kinds.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".", allow_abbrev=False)
        runs: Any = int(number) if number.isdigit() else number
        sub.add_argument("runs", nargs=runs, metavar="RUN", help="folder of a finished run, or RUN@STEP")
        overrides = {"steps": {"type": _steps}, **_OVERRIDES}
        add_fields(sub, AnalysisOptions, fields, **{n: o for n, o in overrides.items() if n in fields})
        sub.add_argument("--figure", metavar="FILE", help="picture (.svg, .png, .pdf); default: RUN/analysis/WHAT.svg")
        if name == "landscape":
            sub.add_argument("--surface", metavar="FILE", help="interactive 3-D surface (.html), which needs plotly")
        sub.add_argument("--json", action="store_true", help="print the figures as JSON")
        sub.add_argument("--traceback", action="store_true", help=argparse.SUPPRESS)
        if name != "drift":  # which reads no rows
            add_moved(sub)
        sub.set_defaults(options=[*sub._option_string_actions])


def run(known: argparse.Namespace, rest: list[str]) -> None:
    """Analyse, draw and print."""

    from rosetune.experiments.analyze import analyse
    from rosetune.report.analyses import as_json, print_analyses
    from rosetune.report.analysis_figures import draw_analyses, picture_of
    from rosetune.report.console import console
    from rosetune.report.mask_pairs import print_pairs

    picture = picture_of(known.what, known.runs[0], known.figure, getattr(known, "surface", None))
    options = AnalysisOptions(**given_fields(known, AnalysisOptions))
    found = analyse(known.what, known.runs, options, moved_data(known))
    with telling_new_folders(known.figure, getattr(known, "surface", None)):
        drawn = draw_analyses(found, picture, options.level)
    if known.json:
        print_json(_with_pairs(as_json(found, options.level), found))
    else:
        print_analyses(console(), found, drawn, options.level)
        print_pairs(console(), found)


def _with_pairs(described: list[dict[str, Any]], found: Any) -> list[dict[str, Any]]:
    """Of masks, with what each has in common with those after it."""
    from rosetune.report.mask_pairs import mask_pairs

    if found[0].about["kind"] != "masks":
        return described
    pairs = mask_pairs(found)
    return [{**one, "pairs": [pair for pair in pairs if pair["first"] == one["title"]]} for one in described]


def _steps(text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts or not all(part.isdigit() for part in parts):
        raise argparse.ArgumentTypeError(f"{text!r} is no list of steps such as 200,600")
    return tuple(map(int, parts))
