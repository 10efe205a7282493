"""rosetune analyze: figures, pictures, files, errors."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from command_line import one_line
from rosetune.runs.analysed import Analysis
from rosetune.runs.run import Run
from rosetune.verbs._plan_results import _analyse

FEW = ("--examples", 12)


@pytest.fixture
def run(library, tmp_path) -> Path:
    return library.copy(library.run("kept", {"save_total_limit": 9}), tmp_path / "vanilla")


@pytest.fixture
def rose(library, tmp_path) -> Path:
    return library.copy(
        library.run("traced", {"update_mask": "rose", "update_mask_kwargs": {"trace": True}}), tmp_path / "rose"
    )


@pytest.mark.parametrize(
    ("what", "flags", "figures"),
    [
        ("landscape", ("--points", 3), {"loss", "accuracy", "level", "share_below_level", "curvature_1"}),
        ("interpolation", ("--points", 5), {"loss_at_0", "loss_at_1", "barrier"}),
        ("hessian", ("--samples", 2, "--tolerance", 0.1), {"largest_eigenvalue", "trace", "standard_error"}),
        ("disagreement", (), {"step", "disagreement"}),
        ("masks", ("--batch_size", 4), {"agreement_half_the_batch", "agreement_by_chance"}),
        ("drift", None, {"embeddings", "0", "1", "head"}),
    ],
)
def test_each_analysis_writes_data_and_a_picture_and_draws_it_again(
    what: str, flags: tuple[Any, ...] | None, figures: set[str], run: Path, rose: Path, rosetune: Any, monkeypatch: Any
) -> None:
    pytest.importorskip("matplotlib")
    words = ("analyze", what, run, rose, *(() if flags is None else (*FEW, *flags)))
    code, out, err = rosetune(*words, "--json")
    assert code == 0, err
    found = json.loads(out)
    assert all(figures <= one["figures"].keys() for one in found)
    assert all(Path(one["file"]).is_file() for one in found)
    picture = run / "analysis" / f"{what}.svg"
    drawn = picture.read_bytes()
    picture.unlink()
    monkeypatch.setattr("rosetune.experiments.subjects.load_trained", None)
    for loader in ("analyze.load_trained", "analyze_training.load_trained", "analyze_training.load_pretrained"):
        monkeypatch.setattr(f"rosetune.experiments.{loader}", None)
    code, out, err = rosetune(*words)
    assert (code, err) == (0, "")
    assert picture.read_bytes() == drawn
    assert str(picture) in out
    assert found[0]["title"] in out


def test_the_level_is_that_of_the_table_and_of_the_picture(
    run: Path, rose: Path, rosetune: Any, monkeypatch: Any
) -> None:
    pytest.importorskip("matplotlib")
    drawn: list[float | None] = []
    monkeypatch.setattr(
        "rosetune.report.analysis_figures.draw_landscapes", lambda figure, analyses, level: drawn.append(level)
    )
    code, out, err = rosetune("analyze", "landscape", run, rose, *FEW, "--points", 3, "--level", 0.625, "--json")
    assert code == 0, err
    assert drawn == [0.625]
    assert {one["figures"]["level"] for one in json.loads(out)} == {0.625}
    plan = SimpleNamespace(analyze=({"what": "landscape", "examples": 12, "points": 3, "level": 0.75},))
    _analyse(plan, [Run.open(run), Run.open(rose)])
    assert drawn == [0.625, 0.75]


def test_masks_of_two_runs_are_set_beside_each_other(rose: Path, library: Any, tmp_path: Path, rosetune: Any) -> None:
    other = library.copy(rose, tmp_path / "other")
    words = ("analyze", "masks", rose, other, *FEW, "--batch_size", 4)
    code, out, err = rosetune(*words, "--json")
    assert code == 0, err
    first, second = json.loads(out)
    assert second["pairs"] == []
    (pair,) = first["pairs"]
    assert (pair["second"], pair["of"], pair["steps"]) == (second["title"], "in training", 6)
    assert pair["by_step"] == 1.0  # it is a copy
    assert pair["by_chance"] < 1.0
    code, out, err = rosetune(*words)
    assert code == 0, err
    assert "Which tensors the masks of two runs keep" in out


def test_a_drift_reads_no_data_that_could_have_moved(run: Path, rosetune: Any) -> None:
    _, out, _ = rosetune("analyze", "drift", "--help")
    assert "--task" not in out
    one_line(rosetune("analyze", "drift", run, "--task", "other.csv"), "--task")
    _, out, _ = rosetune("analyze", "masks", "--help")
    assert "--task" in out


def test_what_is_no_number_is_null(run: Path, rosetune: Any) -> None:
    """A model that has diverged everywhere: its figures and its picture."""
    code, out, err = rosetune("analyze", "landscape", run, *FEW, "--points", 3, "--json")
    assert code == 0, err
    found = Analysis.read(Path(json.loads(out)[0]["file"]))
    found.arrays["loss"][:] = np.inf
    found.write()
    code, out, err = rosetune("analyze", "landscape", run, *FEW, "--points", 3, "--json")
    assert (code, err) == (0, "")
    (one,) = json.loads(out, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    assert {one["figures"][name] for name in ("loss", "level", "lowest", "curvature_1", "curvature_2")} == {None}
    assert one["figures"]["share_below_level"] == 1.0


def test_a_surface_needs_plotly(run: Path, rosetune: Any, tmp_path: Path, monkeypatch: Any) -> None:
    """Said before anything is computed."""
    monkeypatch.setattr("rosetune.report.analysis_figures.find_spec", lambda name: None)
    called = rosetune("analyze", "landscape", run, "--surface", tmp_path / "surface.html")
    one_line(called, "--surface needs plotly: pip install 'rosetune[surface]'")
    assert not (run / "analysis").exists()
    assert not (tmp_path / "surface.html").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("analyze",), "the following arguments are required: WHAT"),
        (("analyze", "weather", "RUN"), "invalid choice: 'weather'"),
        (("analyze", "landscape", "nowhere"), "there is no folder nowhere: give the folder of a finished run"),
        (("analyze", "interpolation", "RUN"), "the following arguments are required: RUN"),
        (("analyze", "landscape", "RUN@3"), "does not keep the checkpoint of step 3 (kept: 2, 4, 6)"),
        (("analyze", "landscape", "RUN", "--points", 1), "--points must be at least 3, not 1"),
        (("analyze", "landscape", "RUN", "--figure", "x.jpg"), "--figure x.jpg: name a file that ends in .svg"),
        (("analyze", "landscape", "RUN", "--surface", "x.png"), "--surface x.png: name a file that ends in .html"),
        (("analyze", "disagreement", "RUN", "--steps", "a"), "'a' is no list of steps such as 200,600"),
        (("analyze", "landscape", "RUN", "--pionts", 5), "did you mean --points?"),
    ],
)
def test_what_is_refused(words: tuple[Any, ...], said: str, run: Path, rosetune: Any) -> None:
    code, out, err = rosetune(*(str(word).replace("RUN", str(run)) if "RUN" in str(word) else word for word in words))
    if "RUN" in said:
        assert "required: RUN" in err or "required" in err
    else:
        assert said in err
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert not (run / "analysis").exists()
