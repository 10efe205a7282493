"""Analyses of finished runs: what is kept, what goes on, what is refused."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from scipy.stats import spearmanr

from rosetune.experiments.analysis_options import AnalysisOptions
from rosetune.experiments.analyze import analyse
from rosetune.report.mask_pairs import mask_pairs
from rosetune.runs.analysed import Analysis, find_analyses
from rosetune.runs.run import Run, RunError

SMALL = {"examples": 12, "points": 3, "samples": 2, "tolerance": 0.1}


@pytest.fixture
def run(library, tmp_path):
    return library.copy(library.run("vanilla"), tmp_path / "run")


@pytest.fixture
def kept(library, tmp_path):
    return library.copy(library.run("kept", {"save_total_limit": 9}), tmp_path / "kept")


@pytest.fixture
def rose(library, tmp_path):
    return library.copy(library.run("rose-default", {"update_mask": "rose"}), tmp_path / "rose")


@pytest.fixture
def options():
    return AnalysisOptions(**SMALL)


def weights(run: Path) -> bytes:
    return (run / "model" / "model.safetensors").read_bytes()


def test_a_landscape_is_kept_and_not_computed_again(run, options, monkeypatch):
    before = weights(run)
    (found,) = analyse("landscape", [str(run)], options)
    assert found.arrays["loss"].shape == (3, 3)
    assert np.isfinite(found.arrays["loss"]).all()
    assert found.about["settings"] == {
        **{"examples": 12, "split": "clean", "seed": 0, "points": 3, "span": 0.25, "normalise": "filter"},
        **{"step": None, "data": Run.open(run).identity["data_fingerprint"][:16]},
    }
    assert weights(run) == before
    monkeypatch.setattr("rosetune.experiments.subjects.load_trained", None)
    (again,) = analyse("landscape", [str(run)], options)
    assert (again.arrays["loss"] == found.arrays["loss"]).all()
    assert [analysis.path for analysis in find_analyses(run, "landscape")] == [found.path]


def test_its_middle_is_the_reported_model(run, options):
    """The loss of the kept predictions, and their accuracy."""
    wide = AnalysisOptions(**{**SMALL, "examples": 1000})
    (found,) = analyse("landscape", [str(run)], wide)
    rows, labels = Run.open(run).rows("clean"), list(Run.open(run).labels)
    logits = torch.tensor([row["logits"] for row in rows]).double()
    golds = torch.tensor([labels.index(row["gold"]) for row in rows])
    assert found.arrays["loss"][1, 1] == pytest.approx(
        torch.nn.functional.cross_entropy(logits, golds).item(), abs=1e-6
    )
    assert found.arrays["accuracy"][1, 1] == pytest.approx((logits.argmax(1) == golds).double().mean().item())


def test_each_model_gets_the_same_noise_and_rows(run, rose, options):
    one, two = analyse("landscape", [str(run), str(rose)], options)
    (alone,) = analyse("landscape", [str(run)], options)
    assert (one.arrays["loss"] == alone.arrays["loss"]).all()
    assert one.about["settings"] == two.about["settings"]
    assert not (one.arrays["loss"] == two.arrays["loss"]).any()


@pytest.mark.slow
def test_a_killed_landscape_goes_on_and_ends_the_same(run, library, tmp_path):
    """SIGKILL after the first rows; the rows that are there are not computed again."""
    other = library.copy(library.run("vanilla"), tmp_path / "other")
    words = [
        "analyze",
        "landscape",
        str(run),
        "--examples",
        "12",
        "--points",
        "21",
        "--figure",
        str(tmp_path / "f.svg"),
    ]
    code = "import sys; from rosetune.cli import main; main(sys.argv[1:])"
    process = subprocess.Popen([sys.executable, "-c", code, *words], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        found = find_analyses(run, "landscape")
        if found and np.isfinite(found[0].arrays["loss"][:, 0]).sum() >= 2:
            break
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    (found,) = find_analyses(run, "landscape")
    done = np.isfinite(found.arrays["loss"][:, 0])
    assert 2 <= done.sum() < 21
    # What is there stays: a mark in a finished row survives.
    found.arrays["accuracy"][0, 0] = 7.0
    found.write()
    options = AnalysisOptions(examples=12, points=21)
    (resumed,), (whole,) = analyse("landscape", [str(run)], options), analyse("landscape", [str(other)], options)
    assert resumed.arrays["accuracy"][0, 0] == 7.0
    assert (resumed.arrays["loss"] == whole.arrays["loss"]).all()
    assert resumed.arrays["accuracy"].ravel()[1:].tolist() == whole.arrays["accuracy"].ravel()[1:].tolist()


def test_interpolation_from_one_run_to_another(run, rose, options):
    (line,) = analyse("interpolation", [str(run), str(rose)], options)
    assert line.arrays["alpha"].tolist() == [-0.5, 0.0, 0.5, 1.0, 1.5]
    ends = [analyse("landscape", [str(each)], options)[0].arrays["loss"][1, 1] for each in (run, rose)]
    assert line.arrays["loss"][[1, 3]].tolist() == ends
    assert line.about["other_method"] == Run.open(rose).method


def test_a_hessian(run, options):
    (found,) = analyse("hessian", [str(run)], options)
    assert found.arrays["trace_samples"].shape == (2,)
    assert float(found.arrays["trace_error"]) > 0
    assert np.isfinite(found.arrays["top"])


def test_disagreement_over_the_kept_checkpoints(kept, options):
    found = analyse("disagreement", [str(kept)], options)
    assert [a.about["at"] for a in found] == [2, 4, 6]
    assert all(a.arrays["rows"].shape == (1, 12) for a in found)
    assert [float(a.arrays["share"]) for a in found] == [a.arrays["rows"].mean() for a in found]
    chosen = analyse("disagreement", [str(kept)], AnalysisOptions(**SMALL, steps=(4,)))
    assert [a.path for a in chosen] == [found[1].path]
    at = analyse("disagreement", [f"{kept}@4"], options)
    assert [a.path for a in at] == [found[1].path]
    with pytest.raises(RunError, match=r"does not keep the checkpoint of step 3 \(kept: 2, 4, 6\)"):
        analyse("disagreement", [str(kept)], AnalysisOptions(**SMALL, steps=(3,)))


def test_analyses_outlive_weights(kept, options):
    """The same command reads what was computed, once the weights are gone; what was not is refused, and why."""
    before = analyse("disagreement", [str(kept)], options)
    grid = analyse("landscape", [f"{kept}@4"], options)
    for weights in [*kept.glob("checkpoint-*/*.safetensors"), *kept.glob("model/*.safetensors")]:
        weights.unlink()
    for checkpoint in kept.glob("checkpoint-*"):
        shutil.rmtree(checkpoint)
    assert [a.path for a in analyse("disagreement", [str(kept)], options)] == [a.path for a in before]
    chosen = AnalysisOptions(**SMALL, steps=(2, 6))
    assert [a.path for a in analyse("disagreement", [str(kept)], chosen)] == [before[0].path, before[2].path]
    assert [a.path for a in analyse("landscape", [f"{kept}@4"], options)] == [grid[0].path]
    with pytest.raises(RunError, match=r"no longer has its weights .*train it again"):
        analyse("drift", [str(kept)], options)
    with pytest.raises(RunError, match=r"does not keep the checkpoint of step 3 \(kept: none\)"):
        analyse("disagreement", [f"{kept}@3"], options)
    # Of other rows nothing was computed: the end is all that could be, and cannot.
    with pytest.raises(RunError, match=r"no longer has its weights"):
        analyse("disagreement", [str(kept)], AnalysisOptions(**{**SMALL, "examples": 5}))


def test_a_run_without_checkpoints_has_its_end(run, options):
    (found,) = analyse("disagreement", [str(run)], options)
    assert found.about["at"] == 6


def test_drift_by_layer(run, library, options):
    (found,) = analyse("drift", [str(run)], options)
    names = found.arrays["names"].tolist()
    assert found.about["absent"] == []  # the tiny model has a trained head
    assert "classifier.weight" in names
    from safetensors.torch import load_file

    before, after = (load_file(folder / "model.safetensors") for folder in (library.home / "model", run / "model"))
    for name, distance in zip(names, found.arrays["distance"], strict=True):
        assert distance == pytest.approx((after[name].double() - before[name].double()).norm().item(), rel=1e-6)


def test_runs_of_other_data_are_not_compared(run, library, options):
    pairs = library.run("pairs", {"max_steps": 2}, task=str(library.home / "pairs.csv"))
    with pytest.raises(RunError, match="different data"):
        analyse("landscape", [str(run), str(pairs)], options)


def test_nothing_is_drawn_from_the_global_state(run, rose, options):
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    for what in ("landscape", "interpolation", "hessian", "disagreement", "masks", "drift"):
        analyse(what, [str(run), str(rose)], AnalysisOptions(**SMALL, batch_size=4) if what == "masks" else options)
        assert torch.equal(states[0], torch.get_rng_state()), what
        assert (states[1] == np.random.get_state()[1]).all(), what
        assert states[2] == random.getstate(), what


def test_a_step_after_the_end_of_a_run_is_passed_over(kept, options):
    """A shorter training has fewer of the steps that a longer one has."""
    found = analyse("disagreement", [str(kept)], AnalysisOptions(**SMALL, steps=(4, 600)))
    assert [a.about["at"] for a in found] == [4]
    with pytest.raises(RunError, match=r"ends at step 6: give --steps up to that"):
        analyse("disagreement", [str(kept)], AnalysisOptions(**SMALL, steps=(600, 2000)))


def test_masks_of_runs_of_two_tasks(rose, library, tmp_path):
    """Each on the rows of its own task, and beside each other."""
    other = library.run("rose-pairs", {"update_mask": "rose", "max_steps": 2}, task=str(library.home / "pairs.csv"))
    small = AnalysisOptions(**SMALL, batch_size=4)
    found = analyse("masks", [str(rose), str(other)], small)
    assert [a.about["settings"]["data"] for a in found] == [
        Run.open(run).identity["data_fingerprint"][:16] for run in (rose, other)
    ]
    (pair,) = mask_pairs(found)
    assert pair["of"] == "first order"  # neither has a trace
    upper = found[0].about["upper"]
    kept = [
        np.mean([risk.argsort().argsort() < int(upper * len(risk)) for risk in a.arrays["first"]], 0) for a in found
    ]
    assert pair["rank_correlation"] == pytest.approx(spearmanr(*kept).statistic)


def test_masks_are_drawn_as_the_run_draws_them(run):
    """With its own tensors, and the share of each order; what other runs left is read from its file."""
    config = yaml.safe_load((run / "config.yaml").read_text())
    small = AnalysisOptions(**SMALL, batch_size=4)
    (plain,) = analyse("masks", [str(run)], small)
    assert "target_parameters" not in plain.about["settings"]
    own = {"target_parameters": "query.weight$", "upper": ["auto", 0.5]}
    config |= {"update_mask": "rose", "update_mask_kwargs": own}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    (found,) = analyse("masks", [str(run)], small)
    names = [name for name in plain.arrays["names"].tolist() if name.endswith("query.weight")]
    assert found.arrays["names"].tolist() == names
    assert (found.about["upper"], found.about["upper_second"]) == ("auto", 0.5)


def test_a_damaged_file_is_named(run, options):
    (found,) = analyse("landscape", [str(run)], options)
    found.path.write_bytes(b"PK")
    with pytest.raises(RunError, match=r"is damaged .*: remove it and analyse again"):
        analyse("landscape", [str(run)], options)


def test_an_analysis_is_read_as_it_was_written(tmp_path):
    path = tmp_path / "analysis" / "landscape-1.npz"
    Analysis(path, {"kind": "landscape", "a": [1, None]}, {"x": np.arange(3.0)}).write()
    found = Analysis.read(path)
    assert found.about == {"kind": "landscape", "a": [1, None]}
    assert found.arrays["x"].tolist() == [0, 1, 2]
    assert json.loads(json.dumps(found.about)) == found.about
