"""Plans: what they stand for, and each mistake with its line and the nearest right name."""

from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest

import tiny_run
from rosetune.experiments.expansion import planned_runs
from rosetune.experiments.plan_reader import parse_plan, read_plan
from rosetune.experiments.planned import TRACE, PlannedRun
from rosetune.experiments.train import train_run
from rosetune.runs.values import RunError

pytestmark = pytest.mark.usefixtures("at_home")

PLAN = """\
output_dir: out
tasks: [my.csv]
models: [./model]
seeds: [1, 2]
options: {max_steps: 6, save_steps: 2}
methods:
  vanilla:
  rose-ensemble: {update_mask_kwargs: {upper: 0.6, trace: true}}
"""
STATIC = "  static: {update_mask: static, update_mask_kwargs: {trace: {method: %s}}}\n"
MISTAKES = [
    ("[my.csv]", "[sst3]", 2, "did you mean sst2?"),
    ("[my.csv]", "[nope.csv]", 2, "there is no file nope.csv"),
    ("[my.csv]", "[my.csv, my.csv]", 2, "stands here twice"),
    ("[my.csv]", "{my.csv: {text_columns: txt}}", 2, "no column 'txt'"),
    ("[my.csv]", "[]", 2, "tasks is missing"),
    ("./model", "./modell", 3, "no folder ./modell"),
    ("models", "model", 3, "did you mean models?"),
    ("[1, 2]", "[1, 1]", 4, "has 1 twice"),
    ("[1, 2]", "[]", 4, "whole numbers such as [1, 2, 3]"),
    ("[1, 2]", "[1, two]", 4, "whole numbers such as [1, 2, 3]"),
    ("[my.csv]", "{my.csv: {seeds: [1, 1]}}", 2, "has 1 twice"),
    ("[my.csv]", "{my.csv: {seeds: 1}}", 2, "whole numbers such as [1, 2, 3]"),
    ("max_steps: 6", "max_step: 6", 5, "did you mean max_steps?"),
    ("max_steps: 6", "max_steps: six", 5, "max_steps must be a whole number, not 'six'"),
    (
        "max_steps: 6",
        "max_steps: -8",
        5,
        "line 5: max_steps must be at least 1, or -1 to leave the length to the epochs",
    ),
    ("max_steps: 6", "max_steps: 0", 5, "max_steps=0 trains nothing"),
    ("max_steps: 6", "num_train_epochs: -1", 5, "num_train_epochs=-1 trains nothing"),
    ("max_steps: 6", "text_columns: txt", 5, "no column 'txt'"),
    ("max_steps: 6", "data_dir: glu", 5, "there is no file or folder glu: correct data_dir"),
    (
        "[my.csv]",
        "{my.csv: {validation_file: no.csv}}",
        2,
        "there is no file or folder no.csv: correct validation_file",
    ),
    ("max_steps: 6", "learning_rate: fast", 5, "line 5: learning_rate must be a number, not 'fast'"),
    ("max_steps: 6", "learning_rate: -1", 5, "learning_rate must be at least 0, not -1.0"),
    ("max_steps: 6", "learning_rate: .nan", 5, "learning_rate must be at least 0, not nan"),
    ("max_steps: 6", "weight_decay: -0.1", 5, "weight_decay must be at least 0, not -0.1"),
    ("max_steps: 6", "adam_beta2: 1", 5, "adam_beta2 must be at least 0 and below 1, not 1.0"),
    ("max_steps: 6", "label_smoothing_factor: 1.5", 5, "label_smoothing_factor must be from 0 to 1, not 1.5"),
    ("max_steps: 6", "max_length: 0.5", 5, "max_length must be a whole number"),
    ("max_steps: 6", "seed: 6", 5, "a plan has seeds"),
    ("max_steps: 6", "sets: clan", 5, "not clan"),
    ("vanilla:", "vanila:", 7, "did you mean vanilla?"),
    ("upper:", "uppr:", 8, "did you mean 'upper'?"),
    ("upper: 0.6", "upper: 1.6", 8, "upper must be a finite number in (0, 1], not 1.6"),
    ("rose-ensemble:", "vanilla:", 8, "stands here again, after line 7"),
    ("", "grid: {learning_rate: []}\n", 9, "at least one value"),
    ("", "grid:\n  learning_rate: [1e-5, 1.0e-5]\n", 10, "has 1e-05 twice"),
    ("", "grid:\n  learning_rat: [1e-5]\n", 10, "did you mean learning_rate?"),
    (
        "",
        "grid:\n  update_mask_kwargs.upper: [0.5]\n",
        10,
        "vanilla has no update_mask: give this grid to the methods",
    ),
    ("", "grid:\n  update_mask_kwargs.uper: [0.5]\n", 10, "did you mean 'upper'?"),
    ("", "grid:\n  update_mask_kwargs.upper: [1.5]\n", 10, "upper must be a finite number in (0, 1], not 1.5"),
    ("", "  x: {objective: r_drop, grid:\n    {objective_kwargs.alpah: [1]}}\n", 10, "did you mean 'alpha'?"),
    ("", "grid:\n  per_device_train_batch_size: [0]\n", 10, "per_device_train_batch_size must be at least 1, not 0"),
    ("", "grid: {}\n", 9, "the grid is empty"),
    ("", "  x: {objective: r_drop, grid: {}}\n", 9, "the grid is empty"),
    ("", "  plain: {objective: cross_entropy}\n", 9, "the same run as vanilla on my.csv (line 7)"),
    (
        "",
        "  plain: {objective: cross_entropy, objective_kwargs: {label_smoothing: 0}}\n",
        9,
        "the same run as vanilla on my.csv",
    ),
    (
        "",
        "  a: {update_mask: rose}\n  b: {update_mask: rose, update_mask_kwargs: {upper: 0.60, gamma: 0.5}}\n",
        10,
        "b seed 1 is the same run as a on my.csv (line 9): remove one of the two",
    ),
    ("", "  a: {update_mask: rose}\n  rose-first: {update_mask_kwargs: {order: ensemble}}\n", 10, "the same run as a"),
    (
        "",
        "  a: {objective: cross_entropy, averaging: ema}\n"
        "  b: {objective: cross_entropy, averaging: ema, averaging_kwargs: {decay: 0.99}, num_train_epochs: 3}\n",
        10,
        "the same run as a on my.csv",
    ),
    (
        "",
        "  a: {objective: cross_entropy, augmentation: noise}\n"
        "  b: {objective: cross_entropy, augmentation: noise, augmentation_kwargs: {p: 0.5}}\n",
        10,
        "the same run as a on my.csv",
    ),
    ("", STATIC % "rose-ensembl", 9, "did you mean rose-ensemble?"),
    ("", STATIC % "static", 9, "needs what comes of itself: static -> static"),
    ("", STATIC % "vanilla", 7, "vanilla records no trace"),
    ("", "  x: {recipe: rose-ensembl}\n", 9, "did you mean rose-ensemble?"),
    ("", "  x: {recipe: rose-ensemble/roberta-base/rt}\n", 9, "did you mean rose-ensemble/roberta-base/rte"),
    ("", "  x: {objective: r_drop, tasks: {my.cvs: {seed: 1}}}\n", 9, "seed is no option here"),
    ("", "  x: {objective: r_drop, tasks: {my.cvs: {max_steps: 1}}}\n", 9, "did you mean my.csv?"),
    ("", "attack: {attack: pwsw}\n", 9, "did you mean pwws?"),
    ("", "attack: {attack: deepwordbug, example: 3}\n", 9, "did you mean examples?"),
    ("", "attack: {attack: pwws}\n", 9, "give synonyms"),
    (
        "",
        "attack: {attack: deepwordbug, set: typos_3}\n",
        9,
        "no set 'typos_3' of my.csv to attack: did you mean typos_",
    ),
    ("", "attack:\n  - {attack: deepwordbug}\n  - {attack: random, set: typin@0.3}\n", 11, "typing?"),
    ("[my.csv]", "{my.csv: {attack: {attack: random, set: typing@3}}}", 2, "above 0 and at most 1"),
    ("", "attack: {attack: random, set: clean_mismatched}\n", 9, "to attack: choose among clean"),
    ("", "threads: 0\n", 9, "threads must be"),
    ("tasks: [", "tasks: [[", 3, "not valid YAML"),
    ("max_steps: 6", "update_mask_kwargs: {upper: {method: rose-ensemble}}", 5, "only options under methods"),
    ("[my.csv]", "{my.csv: {update_mask_kwargs: {upper: {method: nobody}}}}", 2, "only options under methods"),
    ("", "grid: {update_mask_kwargs.upper: [{method: nobody}]}\n", 9, "under methods"),
    (
        "",
        "  x: {objective: r_drop, grid: {update_mask_kwargs.upper: [{method: x}]}}\n",
        9,
        "only options under methods",
    ),
    (
        "",
        STATIC % "b" + "  b: {update_mask: static, update_mask_kwargs: {trace: {method: c}}}\n",
        10,
        "plan 'c'",
    ),
    ("", "attack: {attack: pwws, synonyms: absent.json}\n", 9, "absent.json"),
    ("max_steps: 6", "noises: [typing]", 7, "noise_curve among the sets"),
    ("max_steps: 6", "noises: [tyyping]", 5, "tyyping"),
    ("max_steps: 6", "noises: [typing@2], sets: [noise_curve]", 5, "the share of words to touch"),
    ("vanilla:", "vanilla: {only: [your.csv]}", 7, "did you mean my.csv?"),
    ("vanilla:", "vanilla: {only: []}", 7, "task in this plan"),
    ("[my.csv]", "{my.csv: {attack: deepwordbugs}}", 2, "did you mean deepwordbug?"),
    ("", "table: {layout: tabel9}\n", 9, "did you mean table"),
    ("", "table: {sets: 5}\n", 9, "must be a list of names, not 5"),
    ("", "table: {sets: [cleen]}\n", 9, "did you mean clean?"),
    ("", "table: {metric: [acuracy]}\n", 9, "did you mean accuracy?"),
    ("", "table: {test: welsh}\n", 9, "did you mean welch?"),
    ("", "table: {baseline: 3}\n", 9, "must be a name, not 3"),
    ("", "table:\n  baseline: vanila\n", 10, "no row of the table 'vanila': did you mean vanilla?"),
    ("", "table: {layout: table2}\n", 9, "no row of the table 'r-drop'"),
    ("", "table:\n  layout: table3\n  option: gama\n", 11, "no run was given the option gama"),
    ("", "table: {layout: table3, option: uppr}\n", 9, "no run was given the option uppr: did you mean upper?"),
    ("", "left_out: [{model: none}]\n", 9, "did you mean models?"),
    ("", "left_out:\n  - all\n  - {models: a, seeds: b}\n", 11, "left_out must hold sentences"),
    ("", "left_out: [{models: 3}]\n", 9, "left_out must hold sentences, or such as models: a sentence"),
]


def runs_of(text: str) -> list[PlannedRun]:
    return planned_runs(parse_plan(text, "plan.yaml"))


@pytest.mark.parametrize(("right", "wrong", "line", "said"), MISTAKES, ids=[wrong[:40] for _, wrong, _, _ in MISTAKES])
def test_a_mistake_has_its_line_and_the_right_name(right: str, wrong: str, line: int, said: str) -> None:
    text = PLAN.replace(right, wrong, 1) if right else PLAN + wrong
    with pytest.raises(RunError) as error:
        runs_of(text)
    assert str(error.value).startswith(f"plan.yaml, line {line}")
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_noise_can_be_attacked_that_no_run_is_evaluated_on() -> None:
    """An attack makes its rows anew."""
    runs = runs_of(PLAN + "attack: {attack: random, set: typing@0.3}\n")
    assert {options.set for run in runs for options in run.attacks} == {"typing@0.3"}


def test_a_mistake_ends_the_verb_before_anything_is_written(rosetune: Callable[..., tuple[int, str, str]]) -> None:
    Path("wrong.yaml").write_text(PLAN.replace("upper:", "uppr:"), encoding="utf-8")
    code, out, err = rosetune("sweep", "wrong.yaml")
    assert (code, out) == (2, "")
    assert "wrong.yaml, line 8: " in err
    assert not Path("out").exists()
    assert "--shard must be such as 3/8" in rosetune("sweep", "wrong.yaml", "--shard", "9/8")[2]
    assert "cannot read" in rosetune("sweep", "absent.yaml")[2]


def test_a_plan_is_the_product_of_its_parts() -> None:
    text = PLAN.replace("[my.csv]", "[my.csv, other.csv]") + "grid: {learning_rate: [1e-5, 3e-5, 1e-4]}\n"
    runs = runs_of(text)
    found = {(r.task, r.method, r.config.seed, r.config.training["learning_rate"]) for r in runs}
    wanted = product(("my.csv", "other.csv"), ("vanilla", "rose-ensemble"), (1, 2), (1e-5, 3e-5, 1e-4))
    assert found == {*wanted}
    assert len(runs) == len({run.key for run in runs}) == len({run.folder() for run in runs}) == 24


def test_the_nearer_option_wins() -> None:
    text = """
tasks: {my.csv: {learning_rate: 2e-5, warmup_steps: 2}, other.csv: {}}
models: [./model]
options: {learning_rate: 1e-5, max_steps: 6, weight_decay: 0.1}
methods:
  vanilla: {warmup_steps: 3, tasks: {other.csv: {learning_rate: 4e-5, weight_decay: null}}}
  r-drop: {objective_kwargs: {alpha: 2.0}, grid: {weight_decay: [0.2]}}
"""
    names = ("learning_rate", "warmup_steps", "weight_decay", "objective_kwargs")
    found = {(r.task, r.method): [r.config.training.get(name) for name in names] for r in runs_of(text)}
    assert found == {
        ("my.csv", "vanilla"): [2e-5, 3, 0.1, None],
        ("other.csv", "vanilla"): [4e-5, 3, None, None],
        ("my.csv", "r-drop"): [2e-5, 2, 0.2, {"alpha": 2}],
        ("other.csv", "r-drop"): [1e-5, None, 0.2, {"alpha": 2}],
    }


def test_noises_go_with_the_curve_of_another_layer() -> None:
    runs = runs_of(PLAN.replace("max_steps: 6", "noises: [typing, ocr], sets: [clean, noise_curve]"))
    assert {run.config.noises for run in runs} == {("typing", "ocr")}


def test_a_task_may_have_seeds_of_its_own() -> None:
    text = PLAN.replace("[my.csv]", "{my.csv: {seeds: [3, 4, 5]}, other.csv: {}}")
    plan = parse_plan(text, "plan.yaml")
    seeds = {(run.task, run.config.seed) for run in planned_runs(plan)}
    assert seeds == {("my.csv", 3), ("my.csv", 4), ("my.csv", 5), ("other.csv", 1), ("other.csv", 2)}
    given = {(run.task, run.config.seed) for run in planned_runs(plan.narrowed(seeds=[9]))}
    assert given == {("my.csv", 9), ("other.csv", 9)}


def test_a_task_may_have_attacks_of_its_own_and_a_method_its_tasks() -> None:
    tasks = "{my.csv: {attack: {attack: disguises, examples: 3}}, other: {task: other.csv}}"
    plan = PLAN.replace("[my.csv]", tasks).replace("vanilla:", "vanilla: {only: other}")
    runs = runs_of(plan + "attack: deepwordbug\n")
    found = {(run.task, run.method): [options.attack for options in run.attacks] for run in runs}
    assert found == {
        ("my.csv", "rose-ensemble"): [("disguises",)],
        ("other", "vanilla"): [("deepwordbug",)],
        ("other", "rose-ensemble"): [("deepwordbug",)],
    }


def test_a_list_in_the_place_of_a_task_is_no_task() -> None:
    text = PLAN.replace("[my.csv]", "{my.csv: }").replace("vanilla:", "vanilla: {only: [[my.csv]]}")
    with pytest.raises(RunError, match="line 7: there is no task in this plan"):
        parse_plan(text)


def test_a_recipe_is_the_lowest_layer() -> None:
    text = """
tasks: {sst2: {task: my.csv}}
models: {roberta: {model_name_or_path: ./model}}
options: {warmup_steps: 7}
methods:
  published: {recipe: rose-ensemble/roberta-base/sst2}
"""
    (run,) = runs_of(text)
    assert run.config.training["update_mask_kwargs"] == {"order": "ensemble", "gamma": 0.5, "upper": 0.4}
    assert run.config.training["learning_rate"] == 5e-5
    assert run.config.training["warmup_steps"] == 7
    assert (run.config.task, run.config.model_name_or_path) == ("my.csv", "./model")


def test_a_trace_is_that_of_the_same_seed_and_point() -> None:
    runs = runs_of(PLAN + STATIC % "rose-ensemble" + "grid: {learning_rate: [1e-5, 3e-5]}\n")
    static = [run for run in runs if run.method == "static"]
    assert len(static) == 4
    for run in static:
        needed = run.needs[TRACE]
        assert runs.index(needed) < runs.index(run)
        assert (needed.method, needed.config.seed, needed.point) == (
            "rose-ensemble",
            run.config.seed,
            run.point,
        )
        assert run.folder() is None  # which depends on the trace


def test_a_plan_finds_what_train_has_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    """The folders are those of `rosetune train` without --output_dir."""
    monkeypatch.chdir(tmp_path)
    text = PLAN.replace("out\n", "runs\n").replace("./model", f"{home}/model").replace("[my.csv]", f"[{home}/my.csv]")
    Path("plan.yaml").write_text(text.replace("max_steps: 6", "max_steps: 2"), encoding="utf-8")
    first, *others = planned_runs(read_plan("plan.yaml"))
    assert not first.is_done()
    config = tiny_run.config(home, "", training={})
    config.output_dir, config.training = None, dict(first.config.training)
    with tiny_run.quick():
        assert train_run(config, tiny_run.silent) == first.folder()
    assert first.is_done()
    assert not any(run.is_done() for run in others)
