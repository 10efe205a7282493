"""Plans whose result is an analysis of their runs."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from rosetune.experiments.options import merged_layers
from rosetune.experiments.plan import Plan
from rosetune.experiments.plan_reader import parse_plan
from rosetune.experiments.reproduce import PARADIGMS, REPRODUCTIONS, SCALES, reproduction
from rosetune.recipes import load_recipe
from rosetune.report.analyses import figures_of
from rosetune.runs.along import accuracy, nearest_step
from rosetune.runs.analysed import find_analyses
from rosetune.runs.run import Run
from rosetune.runs.values import RunError
from rosetune.verbs._plan_results import _analyse

METHODS = {
    "figure1": ("vanilla", "rose-ensemble"),
    "figure2": ("vanilla", "rose-first", "rose-second", "rose-ensemble"),  # the paper's section 4.1 speaks of all
    "figure4": ("rose-ensemble", "vanilla"),  # the paper has ROSE at 0
    "table4": ("rose-first",),
}


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", METHODS)
def test_plans_of_figures(name: str, scale: str) -> None:
    plan = reproduction(name, scale)
    assert tuple(plan.methods) == METHODS[name]
    kinds = {"figure1": "landscape", "figure2": "landscape", "figure4": "interpolation", "table4": "disagreement"}
    *others, shown = plan.analyze
    assert shown["what"] == kinds[name]
    assert [other["what"] for other in others] == ["hessian"] * (kinds[name] == "landscape")
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
@pytest.mark.parametrize("name", ["figure1", "figure2"])
def test_landscapes_are_compared_at_equal_accuracy(name: str, scale: str) -> None:
    """The first method keeps its ten checkpoints; the others need none."""
    plan = reproduction(name, scale)
    assert [one["equal_accuracy"] for one in plan.analyze] == [True, True]
    first, *others = plan.methods.values()
    assert first.name == "vanilla"
    assert first.options["save_total_limit"] >= 10
    assert not any("save_total_limit" in method.options for method in others)


def test_a_plan_evaluates_the_checkpoints_that_it_compares(library: Any, tmp_path: Path, capsys: Any) -> None:
    """Without a call of `rosetune evaluate` in between."""
    vanilla = library.copy(library.run("kept", {"save_total_limit": 9}), tmp_path / "vanilla")
    rose = library.copy(library.run("rose-default", {"update_mask": "rose"}), tmp_path / "rose")
    assert not Run.open(vanilla).steps
    hessian = {"what": "hessian", "examples": 8, "samples": 2, "tolerance": 0.1}
    plan = SimpleNamespace(
        analyze=(hessian, {"what": "landscape", "examples": 8, "points": 3, "equal_accuracy": True})
    )
    _analyse(plan, [Run.open(vanilla), Run.open(rose)])
    assert [*Run.open(vanilla).steps] == [2, 4, 6]
    step = nearest_step(Run.open(vanilla), accuracy(Run.open(rose), "clean"), "clean")
    out = capsys.readouterr().out
    assert (f"vanilla, step {step}" in out) == (step != 6)
    # The Hessian of a plan is beside its landscape.
    columns = figures_of(*find_analyses(rose, "landscape"))
    assert columns["trace"] == float(find_analyses(rose, "hessian")[0].arrays["trace"])


# Rows of GLUE's training sets, the recipe's batch, and the steps of ten epochs.
GLUE = {"sst2": (67_349, 32), "rte": (2_490, 16), "qnli": (104_743, 32), "qqp": (363_846, 32)}


@pytest.mark.parametrize("task", GLUE)
def test_the_checkpoints_of_table_4_survive(task: str) -> None:
    options, plan = _options("table4", "paper", task)
    rows, batch = GLUE[task]
    assert options["per_device_train_batch_size"] == batch
    end = options.get("max_steps") or options["num_train_epochs"] * math.ceil(rows / batch)
    every = int(options["save_steps"])
    saved = sorted({*range(every, end + 1, every), end})
    kept = saved[-options["save_total_limit"] :]
    looked_at = [step for step in (200, 600, 2000, 4000) if step <= end]
    assert plan.analyze[0]["steps"] == [200, 600, 2000, 4000]
    assert {*looked_at} <= {*kept}
    assert looked_at == ([200, 600] if task == "rte" else [200, 600, 2000, 4000])
    assert "RTE at step 2000" in str(plan.left_out)


@pytest.mark.parametrize("task", GLUE)
def test_table_4_learns_at_the_rate_of_the_whole_training(task: str) -> None:
    """On a line from the recipe's rate to 0 over ten epochs, at every step up to the last one."""
    from transformers import get_scheduler

    options, _ = _options("table4", "paper", task)
    rows, batch = GLUE[task]
    whole = 10 * math.ceil(rows / batch)
    end = options.get("max_steps") or whole
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=options["learning_rate"])
    kwargs = {"num_warmup_steps": options["warmup_steps"], "num_training_steps": end}
    name, special = options["lr_scheduler_type"], options.get("lr_scheduler_kwargs")
    schedule = get_scheduler(name, optimizer, **kwargs, scheduler_specific_kwargs=special)
    for step in range(end):
        (rate,) = schedule.get_last_lr()
        assert rate == pytest.approx({"rte": 4e-5}.get(task, 2e-5) * (1 - step / whole), rel=1e-9)
        optimizer.step()
        schedule.step()


def _options(name: str, scale: str, task: str) -> tuple[dict[str, Any], Plan]:
    """Those of a run of the only method of a plan."""
    plan = reproduction(name, scale)
    (model,), (method,) = plan.models.values(), plan.methods.values()
    return merged_layers(plan.layers(plan.tasks[task], model, method, {})), plan


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
        ("[{what: hessian}, {what: landscape, points: 4}]", "--points of a landscape must be odd"),
        ("[{what: hessian}, {what: probe}]", "a probe stands alone"),
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
