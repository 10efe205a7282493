"""Masks: what is drawn over time, the floor of the second order, and pairs of runs."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from made_analyses import NAMES, write_analyses
from made_runs import ROSE, outcomes, write_run
from rosetune.mask_trace import MaskTrace
from rosetune.report.analyses import analysis_grid, figures_of
from rosetune.report.mask_figures import draw_masks
from rosetune.report.mask_pairs import mask_pairs, pair_grid
from rosetune.report.masks import kept_by_tensor
from rosetune.runs.analysed import Analysis, find_analyses


def made(folder: Path, training: dict[str, Any], multipliers: np.ndarray | None = None) -> Analysis:
    """The analysis of masks of a run, and where multipliers are given, its trace."""
    run = write_run(folder, {"clean": outcomes(3, 1)}, training)
    write_analyses(run, points=3)
    (found,) = find_analyses(run.folder, "masks")
    if multipliers is not None:
        MaskTrace(tuple(NAMES), np.ones(len(NAMES), int), multipliers.astype(np.float32)).save(
            run.folder / "mask_trace.npz"
        )
    return found


def traced(found: Analysis, kept: np.ndarray, starts: list[int], lengths: list[int]) -> Analysis:
    arrays = {
        **{"trace_names": np.array(NAMES), "trace_kept": kept, "trace_steps": np.array(starts)},
        **{"trace_lengths": np.array(lengths), "lags": np.array([1]), "lag_agreement": np.array([0.5])},
        "lag_chance": np.array(0.5),
    }
    return Analysis(found.path, found.about, {**found.arrays, **arrays})


def test_a_window_weighs_as_much_as_it_is_long(tmp_path: Path) -> None:
    kept = np.zeros((2, len(NAMES)))
    kept[0] = 1.0
    one = traced(made(tmp_path / "run", ROSE), kept, [1, 4], [3, 1])
    cells, of = kept_by_tensor(one)[2:]
    assert of == "in training"
    assert cells[~np.isnan(cells)] == pytest.approx(0.75)


def test_the_mask_over_time_is_drawn(tmp_path: Path) -> None:
    """A column is as wide as its stretch is long, a line is a tensor, the embeddings come first."""
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure

    kept = np.random.default_rng(0).random((2, len(NAMES)))
    figure = Figure()
    draw_masks(figure, [traced(made(tmp_path / "run", ROSE), kept, [1, 4], [3, 1])])
    (axes,) = [axes for axes in figure.axes if axes.get_title() == "mean multiplier over time"]
    (mesh,) = axes.collections
    assert np.asarray(mesh.get_array()) == pytest.approx(kept.T)  # the made tensors are in the order of the layers
    corners = mesh.get_coordinates()
    assert corners[0, :, 0].tolist() == [0.5, 3.5, 4.5]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["emb.", "0", "1", "2", "3", "head"]
    assert axes.get_yticks().tolist() == [0, 1, 5, 9, 13, 17]


def test_the_second_order_has_a_noise_floor_too(tmp_path: Path) -> None:
    found = made(tmp_path / "run", ROSE)
    low, high = np.arange(len(NAMES), dtype=float), np.arange(len(NAMES), dtype=float)[::-1]
    arrays = {**found.arrays, "second": np.stack([low, low]), "second_again": np.stack([low, high])}
    figures = figures_of(Analysis(found.path, found.about, arrays))
    # 18 tensors, of which 10 are kept: the lowest and the highest 10 share 2, so that 16 are treated otherwise.
    assert figures["second_order_other_batch"] == 1.0
    assert figures["second_order_same_batch_other_dropout"] == pytest.approx((1 + 2 / 18) / 2)
    # What an earlier version left has one vector.
    older = figures_of(found)
    assert older["agreement_with_second_order"] == older["agreement_with_second_order"]
    assert np.isnan(older["second_order_other_batch"])


def lowest_half(risks: np.ndarray) -> np.ndarray:
    """Of the lowest risks as many as hold at most half of the squared risk: 1 for each of them."""
    order, kept = np.argsort(risks), np.zeros(len(risks))
    held = np.cumsum(risks[order] ** 2)
    kept[order[held <= held[-1] / 2]] = 1
    return kept


def test_a_run_with_the_auto_rule(tmp_path: Path) -> None:
    """What was written with the word instead of a number is read, drawn and paired."""
    found = made(tmp_path / "run", ROSE)
    found = Analysis(found.path, {**found.about, "upper": "auto"}, found.arrays)
    kept = np.array([lowest_half(risks) for risks in found.arrays["first"]])
    figures = figures_of(found)
    assert (figures["upper"], figures["upper_second_order"]) == ("auto", "auto")
    assert figures["kept"] == pytest.approx(kept.mean())
    assert figures["kept_second_order"] == pytest.approx(lowest_half(found.arrays["second"]).mean())
    small = np.argsort(np.argsort(found.arrays["sizes"], kind="stable"))
    expected = [1 - np.abs(mask - (small < mask.sum())).mean() for mask in kept]
    assert figures["agreement_with_small_tensors"] == pytest.approx(np.mean(expected))
    assert "auto" in analysis_grid("", [""], [found]).rows[0]
    assert mask_pairs([found, found])[0]["rank_correlation"] == pytest.approx(1.0)
    cells = kept_by_tensor(found)[2]
    assert np.nansum(cells) == pytest.approx(kept.mean(axis=0).sum())


def test_each_order_has_its_own_share(tmp_path: Path) -> None:
    found = made(tmp_path / "run", ROSE)
    about = {**found.about, "upper": 0.5, "upper_second": 0.25}
    figures = figures_of(Analysis(found.path, about, found.arrays))
    assert (figures["kept"], figures["kept_second_order"]) == (9 / 18, 4 / 18)


def test_a_mask_that_follows_a_trace_keeps_what_its_own_trace_kept(tmp_path: Path) -> None:
    kept = np.zeros((2, len(NAMES)))
    kept[0], kept[1, :9] = 1.0, 1.0
    found = made(tmp_path / "run", ROSE)
    found = Analysis(found.path, {**found.about, "upper": None}, found.arrays)
    assert figures_of(found)["upper"] == 0.6
    assert figures_of(traced(found, kept, [1, 2], [1, 3]))["upper"] == pytest.approx((1 + 3 * 0.5) / 4)


def test_a_pair_of_traces(tmp_path: Path) -> None:
    n = len(NAMES)
    first, second = np.zeros((3, n)), np.zeros((3, n))
    first[:, : n // 2], second[:, : n // 2] = 1, 1
    second[2] = 1
    found = [made(tmp_path / name, ROSE, trace) for name, trace in (("a", first), ("b", second))]
    (pair,) = mask_pairs(found)
    assert (pair["of"], pair["steps"]) == ("in training", 3)
    assert pair["by_step"] == pytest.approx((1 + 1 + 0.5) / 3)
    assert pair["by_chance"] == pytest.approx(0.5)
    assert pair["rank_correlation"] == pytest.approx(1.0)
    json.dumps(pair)
    ((*_, correlation, agreement, chance, steps),) = pair_grid([pair]).rows
    assert (correlation, agreement, chance, steps) == ("1.00", "83.3", "50.0", "3")


def test_only_runs_of_the_same_tensors_are_paired(tmp_path: Path) -> None:
    found = [made(tmp_path / name, ROSE) for name in ("a", "b")]
    arrays = {**found[1].arrays, "names": np.array([*NAMES[:-1], "score.weight"])}
    assert mask_pairs([found[0], Analysis(found[1].path, found[1].about, arrays)]) == []
