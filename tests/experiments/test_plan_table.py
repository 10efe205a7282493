"""The table of a plan: its own attacks alone, and what is found out about it before anything is trained."""

import json
from typing import Any

import pytest

from many_runs import write_scores
from rosetune.experiments.attack import AttackOptions, attack_names
from rosetune.experiments.expansion import planned_runs
from rosetune.experiments.plan_reader import parse_plan
from rosetune.report.paper import table
from rosetune.runs.run import Run
from rosetune.runs.values import RunError
from rosetune.verbs._plan_results import _table_options

pytestmark = pytest.mark.usefixtures("at_home")

PLAN = """\
tasks: [my.csv]
models: [./model]
options: {max_steps: 6}
methods: {vanilla: {}, rose-ensemble: {}}
table: {layout: table1, sets: [clean, attack]}
"""


def options_of(more: str) -> dict[str, Any]:
    plan = parse_plan(PLAN + more)
    return _table_options(plan, planned_runs(plan))


def test_a_plan_shows_its_own_attacks_alone(tmp_path: Any) -> None:
    """A run has suffered the plan's, and one of another budget that somebody made by hand."""
    options = options_of("attack: [deepwordbug, {attack: random, budget: 500}]\n")
    (random,) = [name for name in options["sets"] if name.startswith("attack:random")]
    assert options == {"layout": "table1", "sets": ["clean", "attack:deepwordbug", random]}
    run = write_scores(tmp_path / "a", {"clean": 0.8})
    for name, robust in (("deepwordbug", 2), ("deepwordbug-aaaaaaaa", 0), (random.removeprefix("attack:"), 4)):
        recipe = name.partition("-")[0]
        lines: list[dict[str, Any]] = [{"attack": {"name": recipe}, "budget": len(name), "seed": 0, "column": 0}]
        lines += [{"id": str(i), "status": "failed" if i < robust else "success", "gold": 0} for i in range(4)]
        file = run.folder / "attacks" / f"{name}.jsonl"
        file.parent.mkdir(exist_ok=True)
        file.write_text("".join(json.dumps(line) + "\n" for line in lines))
        file.with_suffix(".json").write_text(json.dumps({"recipe": recipe, "set": "clean", "rows": 4}))
    ((_, entries),) = table([Run(run.folder)], **options).sheets[0].blocks[0]
    # Seeds, clean, the attacks; the average of 80 and (50 + 100) / 2; and the drop.
    assert [entry and entry.text for entry in entries] == ["1", "80.0", "50.0", "100.0", "77.5", "5.0"]


def test_a_task_may_have_attacks_of_its_own() -> None:
    text = PLAN.replace("[my.csv]", "{my.csv: {}, other.csv: {attack: random}}") + "attack: deepwordbug\n"
    plan = parse_plan(text)
    assert _table_options(plan, planned_runs(plan))["sets"] == ["clean", "attack:deepwordbug", "attack:random"]


def test_other_tables_are_as_they_are_given() -> None:
    assert options_of("") == {"layout": "table1", "sets": ["clean", "attack"]}
    plain = PLAN.replace(", attack]", "]") + "attack: deepwordbug\n"
    plan = parse_plan(plain)
    assert _table_options(plan, planned_runs(plan)) == {"layout": "table1", "sets": ["clean"]}


def test_names_are_those_of_files_that_are_there() -> None:
    """As runs of an earlier version have them."""
    assert attack_names(("sentence",), AttackOptions(attack=("deepwordbug",))) == ["deepwordbug"]
    options = AttackOptions(attack=("deepwordbug",), budget=150, examples=50)
    assert attack_names(("sentence1", "sentence2"), options) == ["deepwordbug-841146c9"]


@pytest.mark.parametrize(
    "baseline", ["vanilla", "none", "rose-ensemble", "rose-ensemble (upper=0.6)", "'rose-ensemble (gamma=0.5)'"]
)
def test_a_baseline_may_be_any_row(baseline: str) -> None:
    text = PLAN.replace("[clean, attack]", f"[clean], baseline: {baseline}")
    assert planned_runs(parse_plan(text))


def test_a_row_has_the_plans_name_only_where_that_tells_it_apart() -> None:
    """`plain` alone is called vanilla in tables, as its folder is; beside another vanilla it keeps its name."""
    base = "tasks: [my.csv]\nmodels: [./model]\noptions: {max_steps: 6}\ntable: {baseline: plain}\nmethods:\n"
    alone = base + "  plain: {objective: cross_entropy}\n"
    with pytest.raises(RunError, match=r"line 4: there is no row of the table 'plain': .*vanilla"):
        planned_runs(parse_plan(alone))
    assert planned_runs(parse_plan(alone + "  slow: {objective: cross_entropy, learning_rate: 1e-6}\n"))


def test_a_plan_that_selects_is_checked_for_its_own_runs() -> None:
    """Trials have no table: theirs may lack the option whose values it shows."""
    from rosetune.experiments.selection import foresee

    text = PLAN.replace("[clean, attack]", "[clean], baseline: vanila") + (
        "select: {options: {held_out: 0.2, sets: [clean, noise]}, grid: {learning_rate: [1e-5, 1e-4]}}\n"
    )
    with pytest.raises(RunError, match=r"no row of the table 'vanila': did you mean vanilla\?"):
        foresee(parse_plan(text))
    third = text.replace("layout: table1", "layout: table3").replace("baseline: vanila", "option: gamma")
    third = third.replace("rose-ensemble: {}", "rose-ensemble: {grid: {update_mask_kwargs.gamma: [0.1, 0.5]}}")
    assert len(foresee(parse_plan(third)).runs) == 3


CELLS = """\
tasks:
  my: {task: my.csv, noises: [typing@0.5]}
  other: {task: other.csv, sets: [clean]}
models: [./model]
options: {max_steps: 6, sets: [clean, noise_curve], noises: [typing@0.5, leetspeak@0.5]}
methods: {vanilla: {}}
table:
  sets: [clean, typing@0.5, leetspeak@0.5]
"""


def test_a_noise_that_no_run_is_evaluated_on_is_found_before_anything_is_trained() -> None:
    alone = CELLS.replace("  other: {task: other.csv, sets: [clean]}\n", "")
    with pytest.raises(RunError, match=r"line 7: there is no noise that a run is evaluated on 'leetspeak@0.5'"):
        planned_runs(parse_plan(alone))
    (run,) = planned_runs(parse_plan(alone.replace(", noises: [typing@0.5]}", "}")))
    assert run.task == "my"


def test_some_tasks_of_a_plan_leave_columns_of_its_table_out() -> None:
    plan = parse_plan(CELLS).narrowed(["my"])
    assert plan.table["sets"] == ["clean", "typing@0.5"]
    assert "leetspeak@0.5 as columns of the table: none of these tasks is evaluated on them" in str(plan.left_out)
    assert planned_runs(plan)
    assert parse_plan(CELLS).narrowed(["other"]).table["sets"] == ["clean"]
    assert parse_plan(CELLS).narrowed(seeds=[3]).table["sets"] == ["clean", "typing@0.5", "leetspeak@0.5"]
