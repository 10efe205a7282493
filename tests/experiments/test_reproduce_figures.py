"""Plans whose result is an analysis of their runs."""

from pathlib import Path
from typing import Any

import pytest

from rosetune.experiments.plan_reader import parse_plan
from rosetune.experiments.reproduce import PARADIGMS, REPRODUCTIONS, SCALES, reproduction
from rosetune.recipes import load_recipe
from rosetune.runs.values import RunError

METHODS = {
    "figure1": ("vanilla", "rose-ensemble"),
    "figure2": ("vanilla", "rose-ensemble"),
    "figure4": ("rose-ensemble", "vanilla"),  # the paper has ROSE at 0
    "table4": ("rose-first",),
}


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", METHODS)
def test_plans_of_figures(name: str, scale: str) -> None:
    plan = reproduction(name, scale)
    assert tuple(plan.methods) == METHODS[name]
    kinds = {"figure1": "landscape", "figure2": "landscape", "figure4": "interpolation", "table4": "disagreement"}
    assert plan.analyze["what"] == kinds[name]
    assert ("save_total_limit" in plan.options) == (name == "table4")
    assert plan.left_out


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", REPRODUCTIONS)
def test_every_plan_is_read(name: str, scale: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paradigms = PARADIGMS[scale]
    monkeypatch.setitem(PARADIGMS, scale, 4)  # so many sentences take a second to write
    data = "glue" if name == "hardening" else None
    plan = reproduction(name, scale, synonyms="synonyms.json", data_dir=data, output_dir=str(tmp_path))
    assert plan.left_out
    assert plan.output_dir == str(tmp_path)
    if name == "figure3":
        assert f" {paradigms} paradigms a probe" in str(plan.left_out)


@pytest.mark.parametrize("scale", ["small", "paper"])
def test_r_drop_of_probes_is_that_of_its_recipe(scale: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The paper's alpha of 1.0, which sums both cross-entropies, is 0.5 here."""
    monkeypatch.setitem(PARADIGMS, scale, 4)
    options = reproduction("figure3", scale, output_dir=str(tmp_path)).methods["r-drop"].options
    assert options["objective_kwargs"] == {"alpha": 0.5}
    assert load_recipe("r-drop/roberta-base/sst2")["objective_kwargs"] == {"alpha": 0.5}


@pytest.mark.parametrize(
    ("analyze", "said"),
    [
        ("{what: weather}", "analyze must be a mapping such as {what: landscape}, of landscape, "),
        ("[landscape]", "analyze must be a mapping"),
        ("{what: landscape, pionts: 5}", "points"),
        ("{what: landscape, points: 1}", "--points must be at least 3, not 1"),
        ("{what: probe, points: 5}", "a probe has no option 'points'"),
        ("{what: probe}", "demo is no part of a probe: name the tasks NAME-ambiguous, NAME-linguistic, NAME-surface"),
    ],
)
def test_wrong_analyses(analyze: str, said: str) -> None:
    with pytest.raises(RunError) as caught:
        parse_plan(f"tasks: [demo]\nmethods: [vanilla]\nanalyze: {analyze}\n")
    assert said in str(caught.value)


@pytest.mark.parametrize("name", [pytest.param("figure4", marks=pytest.mark.slow), "table4"])
def test_a_figure_from_nothing(
    name: str, library: Any, tmp_path: Path, rosetune: Any, demo_packages: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    model = library.home / "model"
    code, out, err = rosetune("reproduce", name, "--scale", "smoke", "--model_name_or_path", model)
    assert code == 0, err
    kind = {"figure4": "interpolation", "table4": "disagreement"}[name]
    (picture,) = tmp_path.rglob(f"analysis/{kind}.svg")
    assert picture.name in out.replace("\n", "")
    assert "leaves out:" in out
