"""Which tensors the masks of two runs keep alike."""

import itertools
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape

from rosetune._numbers import fixed
from rosetune.analysis.masks import pair_agreement, rank_correlation
from rosetune.mask_trace import MaskTrace
from rosetune.report.analyses import titles
from rosetune.report.console import Grid, percent, print_grid
from rosetune.report.masks import kept_first_order
from rosetune.runs.analysed import Analysis
from rosetune.runs.run import Run
from rosetune.runs.values import RunError

__all__ = ["mask_pairs", "pair_grid", "print_pairs"]


def print_pairs(out: Console, analyses: Sequence[Analysis]) -> None:
    """A table of the pairs, where the analyses are of masks and there is one."""
    pairs = mask_pairs(analyses) if analyses[0].about["kind"] == "masks" else []
    if pairs:
        print_grid(out, pair_grid(pairs))


def mask_pairs(analyses: Sequence[Analysis]) -> list[dict[str, Any]]:
    """For each pair of analyses of masks with the same tensors what they have in common.

    Of two ends of runs with a trace it is that of :class:`~rosetune.analysis.masks.PairAgreement`, in training. Of
    others the rank correlation of how often a first-order mask keeps each tensor, drawn anew on the model's weights.

    Raises:
        RunError: the trace of a run is damaged.
    """
    traces = [_trace(analysis) for analysis in analyses]
    names = titles(analyses)
    pairs = []
    for i, j in itertools.combinations(range(len(analyses)), 2):
        if analyses[i].arrays["names"].tolist() != analyses[j].arrays["names"].tolist():
            continue
        pair = {"first": names[i], "second": names[j]}
        one, other = traces[i], traces[j]
        if one is not None and other is not None and {*one.names} == {*other.names}:
            pairs.append({**pair, "of": "in training", **vars(pair_agreement(one, other))})
        else:
            found = rank_correlation(*(kept_first_order(analyses[k]) for k in (i, j)))
            pairs.append({**pair, "of": "first order", "rank_correlation": found})
    return pairs


def pair_grid(pairs: Sequence[dict[str, Any]]) -> Grid:
    """A row for each pair."""
    grid = Grid(
        "Which tensors the masks of two runs keep",
        ("", "of", "rank correlation", "agreement by step", "by chance", "steps"),
        caption="Rank correlation: over tensors, of how often each is kept; agreement: 1 - mean |difference|.",
    )
    for pair in pairs:
        shares = [percent(pair[name]) if name in pair else "-" for name in ("by_step", "by_chance")]
        correlation = pair["rank_correlation"]
        grid.rows.append(
            (
                escape(f"{pair['first']} and {pair['second']}"),
                pair["of"],
                "-" if correlation != correlation else fixed(correlation, 2),
                *shares,
                str(pair.get("steps", "-")),
            )
        )
    return grid


def _trace(analysis: Analysis) -> MaskTrace | None:
    """Of the run in whose folder the analysis lies; None of a checkpoint, or of a run without one."""
    if analysis.about["settings"].get("step") is not None:
        return None
    file = Run(analysis.path.parent.parent).trace_file
    try:
        return None if file is None else MaskTrace.load(file)
    except ValueError as error:
        raise RunError(str(error)) from error
