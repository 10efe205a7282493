"""What is read off the arrays of an analysis of masks."""

import itertools
from collections.abc import Iterable
from typing import Any

import numpy as np

from rosetune.analysis.masks import (
    agreement,
    by_layer_and_kind,
    chance_agreement,
    kept_by,
    rank_correlation,
    share_named,
)
from rosetune.runs.analysed import Analysis

__all__ = ["figures_of_masks", "kept_by_tensor", "kept_first_order", "shares_of"]

USUAL = 0.6  # the paper's share


def kept_by_tensor(analysis: Analysis) -> tuple[list[str], list[str], np.ndarray, str]:
    """How often a mask keeps each kind of tensor in each layer, in training where there is a trace.

    Returns:
        Kinds, layers, shares of shape (kinds, layers), NaN where a layer lacks a kind, and what they are of.
    """
    arrays = analysis.arrays
    if "trace_kept" in arrays:
        # A file of an earlier version lacks the lengths, which differ by a step at most.
        kept = np.average(arrays["trace_kept"], axis=0, weights=arrays.get("trace_lengths"))
        names, of = arrays["trace_names"], "in training"
    else:
        names, kept, of = arrays["names"], kept_first_order(analysis), "first order"
    kinds, layers, cells = by_layer_and_kind(names.tolist(), kept)
    return [kind.removesuffix(".weight") for kind in kinds], layers, cells, of


def kept_first_order(analysis: Analysis) -> np.ndarray:
    """Shape (n,): how often a first-order mask, drawn anew on each batch, keeps each tensor."""
    upper, _ = shares_of(analysis)
    return np.mean([kept_by(risk, upper) for risk in analysis.arrays["first"]], axis=0)


def shares_of(analysis: Analysis) -> tuple[float | str, float | str]:
    """Of an analysis of masks the shares that a mask of first order and one of second order keep: numbers or "auto".

    Where the run names no share it is the mean of its trace, or without one the paper's 0.6.
    """
    first = analysis.about["upper"]
    kept = analysis.arrays.get("trace_kept")
    lengths = analysis.arrays.get("trace_lengths")
    traced = USUAL if kept is None else float(np.average(kept.mean(axis=1), weights=lengths))
    # A file of an earlier version has one share for both orders.
    one, other = (share_named(upper, traced) for upper in (first, analysis.about.get("upper_second", first)))
    return one, other


def figures_of_masks(analysis: Analysis) -> dict[str, Any]:
    """What is read off the arrays of one analysis of masks, by name.

    A mask is set beside as many small tensors as it keeps.
    """
    arrays, (upper, upper_second) = analysis.arrays, shares_of(analysis)
    first, again, half = ([kept_by(risk, upper) for risk in arrays[name]] for name in ("first", "again", "half"))
    # A file of an earlier version has one second-order risk, drawn once.
    second = [kept_by(risk, upper_second) for risk in np.atleast_2d(arrays["second"])]
    twice = [kept_by(risk, upper_second) for risk in arrays.get("second_again", ())]

    def mean(pairs: Iterable[tuple[np.ndarray, np.ndarray]]) -> float:
        found = [agreement(a, b) for a, b in pairs]
        return float(np.mean(found)) if found else float("nan")

    return {
        "upper": upper,
        "kept": float(np.mean(first)),
        "upper_second_order": upper_second,
        "kept_second_order": float(np.mean(second)),
        "agreement_same_batch_other_dropout": mean(zip(first, again, strict=True)),
        "agreement_half_the_batch": mean(zip(first, half, strict=True)),
        "agreement_other_batch": mean(itertools.combinations(first, 2)),
        "agreement_with_second_order": mean(itertools.product(first, second)),
        "agreement_with_small_tensors": mean((mask, kept_by(arrays["sizes"], mask.mean())) for mask in first),
        "agreement_with_small_norms": mean((mask, kept_by(arrays["norms"], mask.mean())) for mask in first),
        "agreement_by_chance": chance_agreement(np.stack(first)),
        "second_order_same_batch_other_dropout": mean(zip(second, twice, strict=False)),
        "second_order_other_batch": mean(itertools.combinations(second, 2)),
        "rank_correlation_with_size": rank_correlation(arrays["first"].mean(axis=0), arrays["sizes"]),
        "rank_correlation_with_norm": rank_correlation(arrays["first"].mean(axis=0), arrays["norms"]),
    }
