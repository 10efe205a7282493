"""A method of a plan whose checkpoints are evaluated too, and the others beside it at equal clean accuracy."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

import tiny_run
from rosetune.experiments.estimate import _measured
from rosetune.experiments.expansion import planned_runs
from rosetune.experiments.plan import Plan
from rosetune.experiments.plan_reader import parse_plan
from rosetune.experiments.selection import choose
from rosetune.runs.run import Run
from rosetune.runs.values import RunError

pytestmark = pytest.mark.usefixtures("at_home")

PLAN = """\
output_dir: {out}
threads: 1
tasks: [my.csv]
models: [./model]
seeds: [1, 2]
options: {{max_steps: 6, save_steps: 2, per_device_train_batch_size: 8, learning_rate: 3e-3, sets: [clean, noise]}}
methods:
  vanilla: {{along_training: true}}
  r-drop:
table: {{layout: table1, sets: [clean, typos_1]}}
"""
Verb = Callable[..., tuple[int, str, str]]


def sweep(rosetune: Verb, out: str, change: tuple[str, str] = ("", "")) -> tuple[int, str, str]:
    Path(f"{out}.yaml").write_text(PLAN.format(out=out).replace(*change), encoding="utf-8")
    return rosetune("sweep", f"{out}.yaml")


def test_its_checkpoints_are_evaluated_on_its_sets_and_go(rosetune: Verb) -> None:
    code, out, err = sweep(rosetune, "followed")
    assert code == 0, err
    assert "at equal clean accuracy, beside vanilla (seeds 1, 2) stopped early" in " ".join(out.split())
    runs = [Run.open(path.parent) for path in sorted(Path("followed").rglob("metrics.json"))]
    for run in runs:
        plain = run.method == "vanilla"
        assert [(step, about["end"]) for step, about in run.steps.items()] == (
            [(2, False), (4, False), (6, True)] if plain else []
        )
        assert all({*run.sets(step)} == {*run.sets()} for step in run.steps)
        assert not [*run.folder.glob("checkpoint-*")]
    before = tiny_run.snapshot(Path("followed"))
    code, out, _ = sweep(rosetune, "followed")
    assert code == 0
    assert "at equal clean accuracy" in " ".join(out.split())
    assert tiny_run.snapshot(Path("followed")) == before
    # Sets that only checkpoints could give, which are gone.
    code, out, _ = sweep(rosetune, "followed", ("[clean, noise]}", "[clean, noise, noise_curve], noises: ocr@0.5}"))
    assert code == 1
    assert "its checkpoints, which the new sets would need, are gone" in " ".join(out.split())


def test_noises_of_the_table_stand_in_it(rosetune: Verb) -> None:
    """As in the plans of `hardening`, whose tables have cells of the noise curve."""
    Path("cells.yaml").write_text(
        PLAN.format(out="cells")
        .replace("[1, 2]", "[1]")
        .replace("[clean, noise]}", "[clean, noise_curve], noises: [ocr@0.5, typing@0.5]}")
        .replace("typos_1", "ocr@0.5"),
        encoding="utf-8",
    )
    code, out, err = rosetune("sweep", "cells.yaml")
    assert code == 0, err
    part = out.split("at equal clean accuracy, beside vanilla (seed 1) stopped early")[1]
    assert "ocr 0.5" in part
    assert "typing 0.5" not in part


def test_checkpoints_that_another_command_keeps_are_not_deleted(rosetune: Verb) -> None:
    assert sweep(rosetune, "theirs", ("along_training: true", "save_total_limit: 3"))[0] == 0
    before = {str(path) for path in Path("theirs").rglob("checkpoint-*")}
    assert len(before) == 2 * 3
    assert sweep(rosetune, "theirs")[0] == 0
    assert {str(path) for path in Path("theirs").rglob("checkpoint-*")} == before


def test_what_a_kill_left_of_the_checkpoints_goes(rosetune: Verb) -> None:
    assert sweep(rosetune, "left", ("[1, 2]", "[1]"))[0] == 0
    (folder,) = Path("left/my/vanilla").iterdir()
    (folder / "checkpoint-2").mkdir()
    assert sweep(rosetune, "left", ("[1, 2]", "[1]"))[0] == 0
    assert not [*folder.glob("checkpoint-*")]


def test_a_run_that_was_trained_without_is_no_curve(rosetune: Verb) -> None:
    assert sweep(rosetune, "before", ("along_training: true", "along_training: false"))[0] == 0
    before = tiny_run.snapshot(Path("before"))
    code, out, _ = sweep(rosetune, "before")
    assert code == 1
    assert "it was trained before without that, so that its checkpoints are gone" in " ".join(out.split())
    after = tiny_run.snapshot(Path("before"))
    assert {name: after[name] for name in before if "/logs/" not in str(name)} == {
        name: value for name, value in before.items() if "/logs/" not in str(name)
    }


def test_it_keeps_as_many_as_it_is_told(rosetune: Verb) -> None:
    assert sweep(rosetune, "kept", ("along_training: true", "along_training: true, save_total_limit: 2"))[0] == 0
    (path, _) = sorted(Path("kept/my/vanilla").iterdir())
    assert sorted(found.name for found in path.glob("checkpoint-*")) == ["checkpoint-4", "checkpoint-6"]
    assert [*Run.open(path).steps] == [4, 6]


def test_trials_are_not_followed() -> None:
    chosen = "select: {options: {held_out: 40, sets: [clean, noise]}, grid: {learning_rate: [1e-3, 3e-3]}}\n"
    text = PLAN.format(out="trials").replace("methods:", f"{chosen}methods:")
    stages = []

    def do(plan: Plan) -> None:
        stages.append(planned_runs(plan))

    assert choose(parse_plan(text), do) is None
    assert not any(run.along for run in stages[0])
    assert [run.along for run in planned_runs(parse_plan(PLAN.format(out="runs")))] == [True, True, False, False]


def test_its_evaluations_are_foreseen() -> None:
    plain, _, other, _ = planned_runs(parse_plan(PLAN.format(out="foreseen")))
    told: dict[str, float] = {"step": 0.0, "prepare_row": 0.0, "query": 0.0, "fixed": 1.0, "evaluation": 2.0}
    assert _measured([plain], told).total == 7  # steps 2, 4 and 6, the end among them
    assert _measured([other], told).total == 3


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("along_training: true", "along_training: 3", "along_training must be true or false, not 3"),
        ("along_training: true", "along_trainin: true", "no option 'along_trainin': did you mean along_training?"),
        (
            "along_training: true",
            "along_training: true, save_strategy: 'no'",
            "save_strategy: no leaves none",
        ),
        (
            "along_training: true",
            "along_training: true, objective: cross_entropy, averaging: checkpoints",
            "averaging: checkpoints comes after training: follow the run that it averages",
        ),
        ("along_training: true", "along_training: true, save_total_limit: 1", "keeps the end alone: give more"),
        (
            "along_training: true",
            "along_training: true, objective: cross_entropy, averaging: ema",
            "hold weights that are not averaged",
        ),
        ("tasks: [my.csv]", "tasks: {numbers.csv: {task_type: regression}}", "this is a regression"),
    ],
)
def test_what_cannot_be_followed_is_told_with_its_line(old: str, new: str, said: str) -> None:
    rows = "".join(f"some words {i},{i / 7}\n" for i in range(80))
    Path("numbers.csv").write_text(f"text,label\n{rows}", encoding="utf-8")
    text = PLAN.format(out="wrong")
    assert old in text
    with pytest.raises(RunError, match="line 8") as error:
        planned_runs(parse_plan(text.replace(old, new)))
    assert said in str(error.value)


def test_the_published_plans_follow_plain_fine_tuning() -> None:
    plans = Path(__file__).parents[2] / "src/rosetune/recipes/plans"
    for path in plans.glob("hardening-*.yaml"):
        methods = yaml.safe_load(path.read_text(encoding="utf-8"))["methods"]
        assert methods["vanilla"] == {"along_training": True}, path.name
