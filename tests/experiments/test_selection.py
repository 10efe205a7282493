"""Options chosen on held-out training rows: which trials there are, what is chosen, and what comes after."""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import tiny_run
from rosetune.experiments.estimate import Measured
from rosetune.experiments.expansion import planned_runs
from rosetune.experiments.plan import Plan
from rosetune.experiments.plan_reader import parse_plan
from rosetune.experiments.planned import PlannedRun
from rosetune.experiments.reproduce import PARADIGMS, REPRODUCTIONS, SCALES, plan_text, reproduction
from rosetune.experiments.selection import choose, foresee
from rosetune.experiments.train import train_run
from rosetune.experiments.trial_score import HALVES, mean_accuracies, trial_score
from rosetune.runs.run import Run
from rosetune.runs.values import RunError

pytestmark = pytest.mark.usefixtures("at_home")

PLAN = """
output_dir: out
tasks: [my.csv]
models: [./model]
seeds: [1]
options: {max_steps: 8, per_device_train_batch_size: 8, learning_rate: 1e-5}
select:
  seed: 7
  options: {held_out: 0.2, sets: [clean, noise], save_strategy: "no"}
  grid: {learning_rate: [1e-5, 3e-3]}
methods:
  static: {update_mask: static, update_mask_kwargs: {trace: {method: rose}, upper: {method: rose}}}
  rose:
    update_mask: rose
    update_mask_kwargs: {order: ensemble, upper: 0.5, trace: true}
    select: {update_mask_kwargs.upper: [0.5, 0.9]}
"""


def test_each_option_is_chosen_at_the_best_so_far() -> None:
    stages: list[list[PlannedRun]] = []

    def do(plan: Plan) -> list[PlannedRun]:
        stages.append(planned_runs(plan))
        for run in stages[-1]:
            now = run.now()
            assert now is not None
            train_run(now[0], tiny_run.silent)
        return stages[-1]

    with tiny_run.quick():
        found = choose(parse_plan(PLAN), do)
    assert found is not None
    plan, choices = found
    assert all(run.config.held_out == 0.2 and run.config.seed == 7 for runs in stages for run in runs)
    assert [(choice.method, choice.option) for choice in choices] == [
        ("rose", "learning_rate"),
        ("rose", "update_mask_kwargs.upper"),
        ("static", "learning_rate"),
    ]
    for choice in choices:
        assert choice.scores[str(choice.value)] == max(choice.scores.values())
        assert len(choice.scores) == 2
    rate, upper, static_rate = (choice.value for choice in choices)
    tried = [(r.config.training["learning_rate"], r.config.training["update_mask_kwargs"]["upper"]) for r in stages[1]]
    assert tried == [(rate, 0.5), (rate, 0.9)]
    # The trials of the control take the trace and the threshold of the chosen trial.
    assert {run.method for run in stages[2]} == {"rose", "static"}
    for run in planned_runs(plan):
        kwargs = run.config.training["update_mask_kwargs"]
        assert run.config.held_out is None
        assert run.config.seed == 1
        assert run.config.training["learning_rate"] == (rate if run.method == "rose" else static_rate)
        assert kwargs["upper"] == upper
    best = next(run for run in stages[1] if run.point == {"update_mask_kwargs.upper": upper})
    sets = Run.open(best.folder() or "").metrics["sets"]
    noise = [sets[name]["accuracy"] for name in ("typos_1", "typos_2")]
    by_hand = 0.5 * sets["clean"]["accuracy"] + 0.25 * sum(noise)
    assert trial_score(mean_accuracies(Run.open(best.folder() or ""), HALVES)) == pytest.approx(by_hand)
    assert choices[1].scores[str(upper)] == pytest.approx(by_hand)


def test_nothing_is_chosen_on_rows_that_are_reported(library: Any) -> None:
    with pytest.raises(RunError, match="nothing is chosen on it"):
        mean_accuracies(Run.open(library.run("noisy", sets=("clean", "noise"))), HALVES)


@pytest.mark.parametrize(
    ("right", "wrong", "line"),
    [
        ("held_out: 0.2, ", "", 7),
        ("sets: [clean, noise]", "sets: clean", 7),
        ("grid: {learning_rate: [1e-5, 3e-3]}", "gird: {}", 10),
        ("models: [./model]", "models: [./model, demo]", 7),
        ("upper: {method: rose}", "uper: {method: rose}", 12),
    ],
)
def test_mistakes(right: str, wrong: str, line: int) -> None:
    with pytest.raises(RunError, match=f"line {line}: "):
        planned_runs(parse_plan(PLAN.replace(right, wrong)))


def test_a_stage_that_fails_ends_the_choice() -> None:
    assert choose(parse_plan(PLAN), lambda plan: None) is None


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", REPRODUCTIONS)
def test_the_plans_of_the_package_can_be_read(
    name: str, scale: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PARADIGMS, scale, 4)  # of Figure 3
    synonyms = tiny_run.write_synonyms(home / "synonyms.json")
    plan = reproduction(name, scale, synonyms=str(synonyms), data_dir=data_of(home, name, scale))
    assert plan.left_out
    baseline = {"table2": "r-drop", "table4": "rose-first"}.get(name, "vanilla")  # table 4 looks at ROSE alone
    assert baseline in plan.methods
    if scale != "smoke":
        if plan.analyze or name == "price":  # which take the tables' options, and one learning rate for all
            return
        assert plan.select is not None
        assert len(plan.select.grid["learning_rate"]) >= 3
        assert "held_out" in plan.select.options
    else:
        runs = planned_runs(reproduction(name, scale, model="./model", synonyms=str(synonyms)))
        assert len(runs) == len(plan.seeds) * len(plan.tasks) * sum(len(plan.points(m)) for m in plan.methods.values())


def data_of(home: Path, name: str, scale: str) -> str | None:
    """The folder that a plan needs."""
    if "${data_dir}" not in plan_text(name, scale):
        return None
    (home / "data" / "sms_spam").mkdir(parents=True, exist_ok=True)
    (home / "data" / "sms_spam" / "sms_spam.tsv").write_text("label\ttext\nham\ta\nspam\tb\n", encoding="utf-8")
    return str(home / "data")


def test_the_hardening_study_is_what_it_says(home: Path) -> None:
    """Each method with seeds of its task; trials leave out what is reported, and rows come from the chosen trial."""
    synonyms = tiny_run.write_synonyms(home / "synonyms.json")
    data = data_of(home, "hardening", "small")
    plan = reproduction("hardening", "small", model="./model", synonyms=str(synonyms), data_dir=data)
    assert plan.options["data_dir"] == data
    assert plan.tasks["sms_spam"].options["task"] == f"{data}/sms_spam/sms_spam.tsv"
    assert {name: task.seeds or plan.seeds for name, task in plan.tasks.items()} == {
        "sst2": [1, 2, 3, 4, 5],
        "qqp": [1, 2, 3],
        "sms_spam": [1, 2, 3],
    }
    alone = reproduction("hardening", "small", synonyms=str(synonyms), data_dir=data, tasks=["qqp"])
    assert "ocr@0.5" in alone.table["sets"]
    assert "leetspeak@0.5" not in alone.table["sets"]  # which this task is not evaluated on
    seen = plan.methods["noise"].options["augmentation_kwargs"]["noises"]
    assert {*seen} < {name.partition("@")[0] for name in plan.options["noises"]}
    assert plan.methods["consistency"].options["objective_kwargs"]["noises"] == seen
    files = {"sst2": "my.csv", "sms_spam": "other.csv"}
    assert {name: part.only for name, part in plan.methods.items() if part.only} == {
        "random": ("sst2",),
        "random-step": ("sst2",),
        "typing+ocr+normalize": ("sms_spam",),
    }
    tasks = {
        name: replace(task, options={"sets": ("clean", "noise_curve"), "max_train_samples": 80, "task": files[name]})
        for name, task in plan.tasks.items()
        if name in files
    }
    assert plan.select is not None
    select = replace(plan.select, options={**plan.select.options, "held_out": 0.2})
    foreseen = foresee(replace(plan, tasks=tasks, select=select, output_dir="foreseen"))
    trials = Counter(run.method for run in foreseen.trials)
    on = {name: [task for task in files if task in (part.only or files)] for name, part in plan.methods.items()}
    assert trials == {name: 3 * len(its) for name, its in on.items()}
    assert {run.config.sets for run in foreseen.trials} == {("clean", "noise")}
    seeds = {"sst2": 5, "sms_spam": 3}
    assert Counter(run.method for run in foreseen.runs) == {
        name: sum(seeds[task] for task in its) for name, its in on.items()
    }
    attacks = {run.task: [(o.attack, o.attack_class) for o in run.attacks] for run in foreseen.runs}
    assert attacks == {
        "sst2": [(("deepwordbug",), None), (("textfooler",), None)],
        "sms_spam": [(("deepwordbug", "benign_append"), "spam"), (("textfooler",), "spam")],
    }
    assert not any(run.attacks for run in foreseen.trials)
    assert {run.config.sets for run in foreseen.runs} == {("clean", "noise_curve")}
    for run in (*foreseen.trials, *foreseen.runs):
        needs = {what: needed.method for what, needed in run.needs.items()}
        assert needs == ({"adversarial rows": "vanilla"} if run.method.startswith("adversarial") else {})
    with pytest.raises(RunError, match="hardening at the scale small needs --data_dir"):
        reproduction("hardening", "small", synonyms=str(synonyms))


def test_every_method_of_table_1_chooses_rate_and_threshold(home: Path) -> None:
    plan = reproduction("table1", "small", tasks=["rte"], seeds=[3, 4], model="./model")
    assert [*plan.tasks] == ["rte"]
    assert plan.seeds == [3, 4]
    task = replace(plan.tasks["rte"], options={"task": "my.csv"})
    options = {**plan.options, "sets": ("clean", "noise")}
    assert plan.select is not None
    select = replace(plan.select, options={**plan.select.options, "held_out": 0.2})
    foreseen = foresee(replace(plan, tasks={"rte": task}, options=options, select=select, output_dir="foreseen"))
    trials = Counter(run.method for run in foreseen.trials)
    assert not foreseen.chosen
    assert {trials[name] for name in ("vanilla", "r-drop", "two-pass", "static")} == {4}
    assert (trials["rose-first"], trials["rose-second"]) == (4 + 2, 5 + 2)
    # The control's four rates each need the trace of ROSE at that rate and the best threshold: those are there.
    assert trials["rose-ensemble"] == 4 + 2
    assert Counter(run.method for run in foreseen.runs) == dict.fromkeys(plan.methods, 2)


def test_a_dry_run_counts_each_trial_once_and_divides_them(
    rosetune: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rosetune.experiments.estimate.measure", measured_without_training)
    Path("plan.yaml").write_text(PLAN.replace("out\n", "dry\n"), encoding="utf-8")
    code, out, err = rosetune("sweep", "plan.yaml", "--dry_run")
    assert code == 0, err
    # Of rose two rates and a threshold more; of the control two rates, at which rose is there.
    trials, runs = 2 + 1 + 2, 2
    assert f"{trials + runs} runs take about" in out
    shares = [rosetune("sweep", "plan.yaml", "--dry_run", "--shard", f"{i}/2")[1] for i in (1, 2)]
    counts = [int(found[1]) if (found := re.search(r"(\d+) runs take about", share)) else 0 for share in shares]
    assert sum(counts) == trials + runs
    assert "trials on held-out rows" in out
    assert "attacks" not in out


def test_a_dry_run_counts_the_attacks_on_runs_but_on_no_trials(
    rosetune: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "rosetune.experiments.estimate.measure", lambda *of: measured_without_training(*of, attacks=60)
    )
    Path("plan.yaml").write_text(PLAN.replace("out\n", "attacked\n"), encoding="utf-8")
    code, out, err = rosetune("sweep", "plan.yaml", "--dry_run")
    assert code == 0, err
    # Seven seconds, and a minute for each of the two runs.
    assert "7 runs take about 2 min here; attacks are guessed from the number of words." in out
    assert "its attacks" in out


def measured_without_training(runs: list[PlannedRun], *_: Any, attacks: float = 0.0) -> list[Measured]:
    kinds: dict[tuple[Any, ...], list[PlannedRun]] = {}
    for run in runs:
        kinds.setdefault((run.task, run.method, str(run.config.training)), []).append(run)
    return [Measured(of_kind[0], len(of_kind), 0.1, 8, 1.0, attacks) for of_kind in kinds.values()]


MISTAKES = [
    ("upper: [0.5, 0.9]", "uper: [0.5, 0.9]", 16, "did you mean 'upper'?"),
    ("upper: [0.5, 0.9]", "upper: [0.5, 1.9]", 16, "not 1.9"),
    ("grid: {learning_rate: [1e-5, 3e-3]}", "grid: {held_out: [0.1, 0.2]}", 10, "every trial has the same held_out"),
    ("grid: {learning_rate: [1e-5, 3e-3]}", "grid: {num_train_epochs: [1, 2]}", 10, "every trial has the same"),
    ("update_mask_kwargs.upper: [0.5, 0.9]", "max_train_samples: [8, 9]", 16, "every trial has the same"),
]


@pytest.mark.parametrize(("right", "wrong", "line", "said"), MISTAKES)
def test_a_mistake_in_what_is_chosen_ends_the_plan_before_the_first_trial(
    right: str, wrong: str, line: int, said: str
) -> None:
    def do(plan: Plan) -> None:
        raise AssertionError("a stage was begun")

    with pytest.raises(RunError, match=f"line {line}: ") as error:
        choose(parse_plan(PLAN.replace(right, wrong)), do)
    assert said in str(error.value)


def test_a_selection_of_nothing_and_one_without_the_plan_s_are_refused() -> None:
    rate, upper = "  grid: {learning_rate: [1e-5, 3e-3]}\n", "    select: {update_mask_kwargs.upper: [0.5, 0.9]}\n"
    with pytest.raises(RunError, match="line 7: select has nothing to choose"):
        parse_plan(PLAN.replace(rate, "").replace(upper, ""))
    begin, end = PLAN.index("select:"), PLAN.index("methods:")
    with pytest.raises(RunError, match="line 12: rose selects, but the plan does not"):
        parse_plan(PLAN[:begin] + PLAN[end:])


def test_trials_leave_the_noises_of_the_plan_s_curve() -> None:
    curve = PLAN.replace("max_steps: 8,", "max_steps: 8, sets: [clean, noise_curve], noises: [typing],")
    foreseen = foresee(parse_plan(curve))
    assert {run.config.noises for run in foreseen.trials} == {None}
    assert {run.config.noises for run in foreseen.runs} == {("typing",)}


def test_unknown_names() -> None:
    with pytest.raises(RunError, match="did you mean table1"):
        plan_text("tabel1", "small")
    with pytest.raises(RunError, match="did you mean smoke"):
        plan_text("table1", "smok")
    with pytest.raises(RunError, match="needs --synonyms"):
        reproduction("rift", "small")
    with pytest.raises(RunError, match="has no task 'cola'"):
        reproduction("table1", "small", tasks=["cola"])
