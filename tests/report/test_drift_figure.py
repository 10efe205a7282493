"""The picture of drift: seeds of a method together, and what lies above the layers beside them."""

from pathlib import Path

import numpy as np
import pytest

from made_analyses import NAMES, write_analyses
from made_runs import ROSE, outcomes, write_run
from rosetune.analysis.layers import drift_by_layer
from rosetune.report.analysis_figures import Pictures, draw_analyses
from rosetune.runs.analysed import Analysis, find_analyses


def made(folder: Path, training: dict[str, object], seed: int, sharpness: float) -> Analysis:
    run = write_run(folder, {"clean": outcomes(3, 1)}, {**training, "seed": seed})
    write_analyses(run, points=3, sharpness=sharpness)
    (found,) = find_analyses(run.folder, "drift")
    return found


def drawn(analyses: list[Analysis], monkeypatch: pytest.MonkeyPatch, path: Path) -> list[object]:
    """The panels of the picture."""
    from matplotlib.figure import Figure

    kept: list[Figure] = []
    save = Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda self, *args, **options: (kept.append(self), save(self, *args, **options))
    )
    draw_analyses(analyses, Pictures(path))
    return [kept[0].legends[0], *kept[0].axes]


def test_seeds_are_a_mean_with_its_span(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    analyses = [made(tmp_path / f"v{seed}", {}, seed, 10.0 * seed) for seed in (1, 2)]
    analyses.append(made(tmp_path / "rose", ROSE, 1, 20.0))
    legend, layers, above = drawn(analyses, monkeypatch, tmp_path / "drift.svg")
    words = [text.get_text() for text in legend.get_texts()]
    assert len(words) == 2
    assert words[0].endswith(", 2 seeds")
    assert "seed" not in words[1]
    seen = [drift_by_layer(NAMES, a.arrays["distance"], a.arrays["norm"]) for a in analyses]
    assert [tick.get_text() for tick in layers.get_xticklabels()] == ["emb.", "0", "1", "2", "3"]
    assert [tick.get_text() for tick in above.get_xticklabels()] == ["head"]
    line, _, (bars,) = layers.containers[0]
    assert line.get_ydata()[1] == pytest.approx(100 * np.mean([one["0"] for one in seen[:2]]))
    low, high = bars.get_segments()[1][:, 1]
    assert (low, high) == pytest.approx((100 * seen[0]["0"], 100 * seen[1]["0"]))
    assert above.containers[1].lines[0].get_ydata() == pytest.approx([100 * seen[2]["head"]])
    assert layers.get_ylim()[1] < above.get_ylim()[1]


def test_runs_of_one_seed_are_not_averaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They differ in a setting."""
    pytest.importorskip("matplotlib")
    analyses = [made(tmp_path / name, {}, 1, 20.0) for name in ("a", "b")]
    legend, layers, _ = drawn(analyses, monkeypatch, tmp_path / "drift.svg")
    assert len(layers.containers) == len(legend.get_texts()) == 2


def test_seeds_with_other_settings_are_not_averaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    rates = {1: 1e-4, 2: 1e-4, 3: 4e-4}
    analyses = [made(tmp_path / str(s), {"learning_rate": rate}, s, 20.0) for s, rate in rates.items()]
    legend, layers, _ = drawn(analyses, monkeypatch, tmp_path / "drift.svg")
    assert len(layers.containers) == len(legend.get_texts()) == 2
    assert [", 2 seeds" in text.get_text() for text in legend.get_texts()] == [True, False]
