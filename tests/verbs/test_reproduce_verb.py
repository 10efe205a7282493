"""``rosetune reproduce``: what of a plan is asked for, and what is said to be left out of it then."""

from typing import Any

import pytest

from command_line import one_line
from rosetune.experiments.plan import Plan
from rosetune.experiments.plan_reader import parse_plan
from rosetune.experiments.reproduce import reproduction

SHOWN = ("reproduce", "table1", "--scale", "small", "--show_plan")
PLAN = """\
tasks: {sst2: {}, rte: {}, qnli: {seeds: [4]}}
models: [demo]
seeds: [1, 2]
methods: [vanilla]
left_out:
  - always
  - models: of the model
  - tasks: of the tasks
  - seeds: of the seeds
"""


@pytest.mark.parametrize(
    "words",
    [
        ("--tasks", "sst2"),
        ("--seeds", "1"),
        ("--model_name_or_path", "m"),
        ("--model", "m"),
        ("--data_dir", "glue"),
        ("--synonyms", "wordnet"),
        ("--output_dir", "out"),
    ],
)
def test_a_plan_that_is_printed_is_the_whole(words: tuple[str, str], rosetune: Any) -> None:
    name = "--model_name_or_path" if words[0] == "--model" else words[0]
    one_line(rosetune(*SHOWN, *words), f"--show_plan prints the whole plan, for you to change: leave out {name}, ")


def test_what_fills_a_plan_may_stand_beside(rosetune: Any, tmp_path: Any) -> None:
    code, out, err = rosetune(
        *(
            "reproduce",
            "hardening",
            "--scale",
            "small",
            "--show_plan",
            "--data_dir",
            "my/data",
            "--synonyms",
            "wordnet",
        )
    )
    assert (code, err) == (0, "")
    assert "my/data" in out
    assert "${" not in out
    shown = ("reproduce", "figure3", "--scale", "smoke", "--show_plan", "--output_dir", tmp_path)
    code, out, err = rosetune(*shown, "--tasks", "length")
    assert (code, err) == (0, "")
    assert "length-ambiguous" in out
    assert "the-ambiguous" not in out
    one_line(rosetune(*shown, "--seeds", 1), "leave out --seeds")


def test_the_model_has_two_names(rosetune: Any) -> None:
    for name in ("--model", "--model_name_or_path"):
        one_line(
            rosetune("reproduce", "table1", "--scale", "smoke", name, "./nowhere", "--dry_run"),
            "there is no folder ./nowhere",
        )


def sentences(plan: Plan) -> list[str]:
    return [entry.sentence for entry in plan.left_out]


@pytest.mark.parametrize(
    ("asked", "left"),
    [
        ({}, ["always", "of the model", "of the tasks", "of the seeds"]),
        ({"models": ["other"]}, ["always", "of the tasks", "of the seeds"]),
        ({"models": ["demo"]}, ["always", "of the model", "of the tasks", "of the seeds"]),
        (
            {"tasks": ["rte"]},
            ["always", "of the model", "of the seeds", "the tasks sst2, qnli, which the plan has"],
        ),
        ({"tasks": ["rte", "sst2", "qnli"]}, ["always", "of the model", "of the tasks", "of the seeds"]),
        ({"seeds": [1, 4]}, ["always", "of the model", "of the tasks", "the seed 2, which the plan has"]),
        ({"seeds": [4, 2, 1]}, ["always", "of the model", "of the tasks", "of the seeds"]),
        ({"seeds": [1, 2, 3, 4]}, ["always", "of the model", "of the tasks"]),
    ],
)
def test_what_is_left_out_follows_what_is_asked(asked: dict[str, Any], left: list[str]) -> None:
    assert sentences(parse_plan(PLAN).narrowed(**asked)) == left


def test_the_small_table_on_another_model() -> None:
    own, other = reproduction("table1"), reproduction("table1", model="FacebookAI/roberta-base", tasks=["sst2"])
    assert "RoBERTa: one small model is in its place" in sentences(own)
    assert "small model" not in str(other.left_out)
    assert sentences(other)[-1] == "the tasks qqp, rte, which the plan has"


def test_probes_that_are_not_asked_for_are_left_out(tmp_path: Any) -> None:
    plan = reproduction("figure3", "smoke", tasks=["length"], output_dir=str(tmp_path))
    assert sentences(plan)[-1] == "the task the, which the plan has"
