"""The figure of robust against clean accuracy over training."""

import sys

import pytest

from made_runs import ROSE, outcomes, write_run
from rosetune.report import drawing, figures
from rosetune.report.drawing import check_figure
from rosetune.report.figures import draw_curve
from rosetune.runs.along import Followed
from rosetune.runs.values import RunError

CURVE = {10: (70, 50), 20: (80, 40), 30: (90, 30), 40: (86, 34)}


def right(clean, robust):
    return {"clean": outcomes(clean, 100 - clean), "advglue": outcomes(robust, 100 - robust)}


@pytest.fixture
def followed(tmp_path):
    pytest.importorskip("matplotlib")
    steps = {step: right(*point) for step, point in CURVE.items()}
    vanilla = write_run(tmp_path / "v", steps[40], steps=steps, end=40)
    return Followed([vanilla, write_run(tmp_path / "r", right(80, 37), ROSE)], ("advglue",))


@pytest.mark.parametrize(("suffix", "magic"), [("svg", b"<?xml"), ("PNG", b"\x89PNG"), ("pdf", b"%PDF")])
def test_each_format_and_the_same_file_again(followed, tmp_path, suffix, magic):
    paths = [tmp_path / f"{name}.{suffix}" for name in ("once", "twice")]
    for path in paths:
        draw_curve(followed, str(path))
    assert paths[0].read_bytes().startswith(magic)
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_it_names_what_it_shows(followed, tmp_path):
    draw_curve(followed, str(tmp_path / "curve.svg"))
    text = (tmp_path / "curve.svg").read_text()
    for words in ("clean accuracy (%)", "AdvGLUE accuracy (%)", "vanilla, end", "rose-ensemble, end", "step 10"):
        assert f">{words}" in text
    for words in ("constant predictor", "labels flipped at random", "vanilla, stopped at equal clean accuracy"):
        assert f">{words}<" in text


def test_a_curve_of_one_point_and_many_sets_are_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    sets = dict.fromkeys(("clean", *(f"typos_{strength}" for strength in range(1, 5))), outcomes(50, 50))
    run = write_run(tmp_path / "v", sets, end=10)
    draw_curve(Followed([run], ("noise",)), str(tmp_path / "curve.svg"))
    text = (tmp_path / "curve.svg").read_text()
    assert text.count(">clean accuracy (%)<") == 4
    assert ">0.2<" not in text  # a place that no set has is empty, without an axis from 0 to 1
    assert "labels flipped" not in text  # the end is at chance


def test_a_level_that_is_never_reached_has_no_place_on_the_curve(followed, tmp_path):
    above = write_run(tmp_path / "above", right(95, 40), ROSE)
    draw_curve(Followed([followed.reference, above], ("advglue",)), str(tmp_path / "curve.svg"))
    assert "stopped at equal clean accuracy" not in (tmp_path / "curve.svg").read_text()


def test_what_cannot_be_drawn_is_refused(monkeypatch):
    for path in ("curve.jpg", "curve", "svg"):
        with pytest.raises(RunError, match=r"\.svg, \.png or \.pdf"):
            check_figure(path)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setattr(drawing, "find_spec", lambda name: None)
    with pytest.raises(RunError, match=r"pip install 'rosetune\[plots\]'"):
        check_figure("curve.svg")


def test_a_figure_that_fails_leaves_the_one_before(followed, tmp_path, monkeypatch):
    path = tmp_path / "curve.svg"
    path.write_text("before")
    monkeypatch.setattr(figures, "_label_steps", None)
    with pytest.raises(TypeError):
        draw_curve(followed, str(path))
    assert path.read_text() == "before"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["curve.svg", "r", "v"]
