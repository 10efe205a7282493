"""A method that trains on the adversarial rows of another's run: found in between, and by nobody twice."""

import hashlib
import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import tiny_run
from rosetune.data.rows import text_keys
from rosetune.data.sources import load_task
from rosetune.experiments.data import load_data
from rosetune.experiments.estimate import _measured
from rosetune.experiments.expansion import planned_runs
from rosetune.experiments.plan import Plan
from rosetune.experiments.plan_reader import parse_plan
from rosetune.experiments.planned import ROWS, TRACE, WEIGHTS, PlannedRun, shard_of
from rosetune.experiments.selection import choose
from rosetune.experiments.sweep import Sweep
from rosetune.experiments.training_rows import training_rows
from rosetune.experiments.worker import Job
from rosetune.runs.run import Run
from rosetune.runs.values import RunError

pytestmark = pytest.mark.usefixtures("at_home")

PLAN = """\
output_dir: hard
tasks: [my.csv]
models: [./model]
seeds: [1, 2]
options: {max_steps: 60, save_steps: 60, logging_steps: 60, learning_rate: 3e-3, sets: clean, max_train_samples: 80}
adversarial: {max_attacked: 30, attack_share: 1.0, max_share: 0.25, budget: 80}
methods:
  hard: {objective: cross_entropy, max_steps: 2, adversarial_file: {method: vanilla}}
  vanilla:
"""
HOW = "adversarial: {max_attacked: 30, attack_share: 1.0, max_share: 0.25, budget: 80}"
MISTAKES = [
    ("{method: vanilla}", "{method: vanila}", 8, "did you mean vanilla?"),
    ("{method: vanilla}", "{methd: vanilla}", 8, "adversarial_file must be text"),
    ("{method: vanilla}", "{method: hard}", 8, "needs what comes of itself: hard -> hard"),
    ("{method: vanilla}}", "absent.jsonl}", 6, "no method trains on adversarial rows of another"),
    (HOW, "", 8, "hard trains on adversarial rows of another method: say how they are found"),
    (HOW, "adversarial: deepwordbug", 6, "must be a mapping of options, such as"),
    (HOW, "adversarial: {atack: deepwordbug}", 6, "did you mean attack?"),
    (HOW, "adversarial: {attack: deepwordbg}", 6, "did you mean deepwordbug?"),
    (HOW, "adversarial: {attack: pwws}", 6, "give synonyms"),
    (HOW, "adversarial: {attack: pwws, synonyms: absent.json}", 6, "absent.json"),
    (HOW, "adversarial: {max_share: 2}", 6, ": max_share must lie in (0, 1], not 2"),
    (HOW, "adversarial: {max_attacked: many}", 6, ": max_attacked must be a whole number of at least 1, not 'many'"),
    ("sets: clean", "adversarial_file: {method: vanilla}", 5, "only options under methods can"),
    ("{method: vanilla}", "{method: vanilla}, max_train_samples: 9", 8, "the same max_train_samples as vanilla"),
    ("{method: vanilla}", "{method: vanilla}, label_noise: 0.1", 8, "leave out label_noise"),
    ("{method: vanilla}", "{method: vanilla}, text_columns: text", 8, "the same data as vanilla"),
    ("  vanilla:", "  vanilla: {grid: {warmup_steps: [1, 2]}}", 8, "vanilla has 2 runs, by its grid"),
    (
        "{method: vanilla}}\n  vanilla:",
        "{method: vanilla}, grid: {weight_decay: [0.1]}}\n  vanilla: {grid: {weight_decay: [0.2]}}",
        8,
        "vanilla has no run of the same task, model, seed and grid",
    ),
    (
        "  vanilla:",
        "  vanilla:\n  again: {objective: r_drop, adversarial_file: {method: hard}}",
        10,
        "hard trains on adversarial rows itself",
    ),
    (
        "  hard: {objective: cross_entropy,",
        "  rose-ensemble: {update_mask_kwargs: {trace: true}}\n"
        "  hard: {update_mask: static, update_mask_kwargs: {trace: {method: rose-ensemble}},",
        9,
        "needs the trace of rose-ensemble and the adversarial rows of vanilla: these must stem from one run",
    ),
    ("[my.csv]", "[numbers.csv]", 8, "adversarial rows need labels, and this is a regression"),
]


class Here:
    """Does each job at once, as another process would: from what can be sent there."""

    def __init__(self) -> None:
        self._ended = dict[str, str | None]()

    def has_room(self) -> bool:
        return True

    def start(self, job: Job) -> None:
        sent: Job = pickle.loads(pickle.dumps(job))
        sent.do()
        self._ended[job.key] = None

    def finished(self, seconds: float) -> dict[str, str | None]:
        ended, self._ended = self._ended, {}
        return ended

    def stop(self) -> None:
        pass


def sweep(runs: list[PlannedRun]) -> Sweep:
    found = Sweep(runs)
    with tiny_run.quick():
        found.run(Here(), lambda now, run: None)
    return found


def runs_of(text: str) -> list[PlannedRun]:
    return planned_runs(parse_plan(text, "plan.yaml"))


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize(("right", "wrong", "line", "said"), MISTAKES, ids=[wrong[:40] for _, wrong, _, _ in MISTAKES])
def test_a_mistake_is_named_before_anything_is_trained(right: str, wrong: str, line: int, said: str) -> None:
    numbers = "".join(f"text {'of ' * i},{i}.5\n" for i in range(40))
    Path("numbers.csv").write_text(f"text,label\n{numbers}", encoding="utf-8")
    assert right in PLAN
    text = PLAN.replace(right, wrong).replace("[numbers.csv]", "{numbers.csv: {task_type: regression}}")
    with pytest.raises(RunError) as error:
        runs_of(text)
    assert str(error.value).startswith(f"plan.yaml, line {line}: ")
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_rows_are_those_of_the_same_seed_and_point_and_go_with_its_shard() -> None:
    runs = runs_of(PLAN.replace("[1, 2]", str([*range(8)])) + "grid: {weight_decay: [0.0, 0.1]}\n")
    hard, plain = ([run for run in runs if run.method == name] for name in ("hard", "vanilla"))
    assert len({run.key for run in runs}) == len(runs) == 32
    for run in hard:
        needed = run.needs[ROWS]
        assert runs.index(needed) < runs.index(run)
        assert (needed.method, needed.config.seed, needed.point) == ("vanilla", run.config.seed, run.point)
        assert run.folder() is None  # which depends on the rows
        assert (run.label, needed.label) == ("vanilla+adversarial", "vanilla")
    assert all(run.adversarial is not None for run in plain)
    shares = [shard_of(runs, number, 3) for number in (1, 2, 3)]
    assert sorted(run.key for share in shares for run in share) == sorted(run.key for run in runs)
    assert all(run.needs[ROWS] in share for share in shares for run in share if run.needs)
    # How rows are found decides what is trained on them, and nothing else; the same in other words changes nothing.
    keys = {run.key for run in hard}
    other = runs_of(PLAN.replace("budget: 80", "budget: 81"))
    assert not keys & {run.key for run in other if run.method == "hard"}
    assert {run.key for run in plain} > {run.key for run in runs_of(PLAN + "grid: {weight_decay: [0.0]}\n")} - keys
    said_otherwise = runs_of(PLAN.replace("attack_share: 1.0", "attack_share: 1, attack: [deepwordbug]"))
    assert {run.key for run in runs_of(PLAN)} == {run.key for run in said_otherwise}


def test_a_run_without_rows_keeps_its_key_and_identity() -> None:
    """What a plan without adversarial rows trains is found again in one with them."""
    without = "".join(line for line in PLAN.splitlines(keepends=True) if "adversarial" not in line)
    before, after = runs_of(without), [run for run in runs_of(PLAN) if run.method == "vanilla"]
    assert [(run.key, run.identity, run.folder()) for run in before] == [
        (run.key, run.identity, run.folder()) for run in after
    ]
    assert "adversarial_file" not in before[0].identity


def test_trace_and_rows_may_stem_from_one_run() -> None:
    text = PLAN + (
        "  rose: {update_mask: rose, update_mask_kwargs: {trace: true}, adversarial_file: {method: vanilla}}\n"
        "  static: {update_mask: static, update_mask_kwargs: {trace: {method: rose}},"
        " adversarial_file: {method: vanilla}}\n"
    )
    static = next(run for run in runs_of(text) if run.method == "static")
    assert {what: needed.method for what, needed in static.needs.items()} == {TRACE: "rose", ROWS: "vanilla"}
    assert static.root.method == "vanilla"


def test_a_line_to_the_pretrained_weights_waits_for_the_run_that_is_trained() -> None:
    line = "  line: {objective: cross_entropy, averaging: pretrained, grid: {averaging_kwargs.alpha: [0.5, 0.75]}}\n"
    hard = line.replace("line: {", "hard-line: {max_steps: 2, adversarial_file: {method: vanilla}, ")
    runs = runs_of(PLAN + line + hard)
    found = {(run.method, run.needs[WEIGHTS].method, run.root.method) for run in runs if WEIGHTS in run.needs}
    assert found == {("line", "vanilla", "vanilla"), ("hard-line", "hard", "vanilla")}
    for run in runs:
        if run.method == "line":
            assert run.needs[WEIGHTS].config.seed == run.config.seed
            assert run.folder() is not None
    told = {"step": 1.0, "fixed": 2.0, "evaluation": 3.0, "prepare_row": 0.0, "query": 0.0}
    of = {run.method: _measured([run], told) for run in runs}
    assert (of["line"].steps, of["line"].total) == (0, 5.0)
    of_equal_length = PLAN.replace("max_steps: 2, ", "")
    by_epochs = runs_of(
        of_equal_length.replace("max_steps: 60", "num_train_epochs: 2, per_device_train_batch_size: 10")
    )
    # Half of 30 rows more, in whole batches.
    steps = {run.method: _measured([run], told).steps for run in by_epochs}
    assert steps == {
        "vanilla": 2 * 80 // 10,
        "hard": 2 * (80 + 15 + 5) // 10,
    }


def test_the_time_that_attacks_take_is_foreseen() -> None:
    told = {"step": 1.0, "fixed": 2.0, "evaluation": 3.0, "prepare_row": 0.0, "query": 0.5}
    attack = (
        "attack: [{attack: [deepwordbug, disguises], examples: 3, budget: 2}, {attack: deepwordbug, examples: 2}]\n"
    )
    runs = runs_of(PLAN.replace("methods:", attack + "methods:"))
    texts = load_task("my.csv").clean[1]["text"]
    words = sum(len(text.split()) for text in texts) / len(texts)
    assert len(texts) <= 64  # of more only the first are counted
    assert 2 < 4 * words < 80
    on_runs = 3 * 2 * 2 + 2 * 4 * words
    found = {run.method: _measured([run], told) for run in runs}
    assert found["hard"].attacks == pytest.approx(0.5 * on_runs)
    # Its training rows too, for the other.
    assert found["vanilla"].attacks == pytest.approx(0.5 * (on_runs + 30 * 4 * words))
    assert found["vanilla"].total == 5.0 + 60 * 1.0


def test_the_dependent_run_trains_on_what_fooled_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = runs_of(PLAN.replace("[1, 2]", "[1]"))
    assert {*sweep(runs).state.values()} == {"done"}
    plain, hard = (Run.open(run.folder() or "") for run in (runs[0], runs[1]))
    assert (plain.method, hard.method) == ("vanilla", "vanilla+adversarial")
    (file,) = plain.folder.glob("adversarial/*/round-1.jsonl")
    assert Path(str(hard.config.adversarial_file)) == file.resolve()
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    training = {**plain.identity["training"], "max_steps": 2}
    assert hard.identity == {**plain.identity, "training": training, "adversarial_file": f"sha256:{digest}"}

    rows, data = lines_of(file), load_task("my.csv")
    own = training_rows(plain.config, data, 1)[0]
    texts = dict(zip(own["id"][:], own["text"][:], strict=True))
    reported = {key for name in ("validation", "test") for key in text_keys(data.splits[name], ("text",))}
    assert 0 < len(rows) == json.loads(file.with_suffix(".json").read_text())["added"]
    for row in rows:
        assert texts[row["original_id"]] == row["original"][0]
        changed = sum(a != b for a, b in zip(row["original"][0].split(), row["texts"][0].split(), strict=True))
        assert 0 < changed <= 2  # a quarter of eight words
        assert not {(row[part][0].replace(" ", ""),) for part in ("original", "texts")} & reported

    # Nothing is attacked or trained twice, and what was removed is found again from the results that were kept.
    again = runs_of(PLAN.replace("[1, 2]", "[1]"))
    before = tiny_run.snapshot(Path("hard"))
    assert {*sweep(again).state.values()} == {"done before"}
    assert tiny_run.snapshot(Path("hard")) == before
    file.unlink()
    again = runs_of(PLAN.replace("[1, 2]", "[1]"))
    monkeypatch.setattr("rosetune.robustness.transformers_classifier.TransformersClassifier.__call__", None)
    assert {*sweep(again).state.values()} == {"done"}
    assert {name: data for name, (_, data) in tiny_run.snapshot(Path("hard")).items()} == {
        name: data for name, (_, data) in before.items()
    }


def test_a_search_that_finds_nothing_fails_what_needs_it() -> None:
    runs = runs_of(PLAN.replace("[1, 2]", "[1]").replace("budget: 80", "budget: 1"))
    found = sweep(runs)
    assert [found.state[run.key].split()[0] for run in runs] == ["done", "failed"]
    (told,) = found.failures.values()
    assert told.startswith("no training row that was attacked fooled my.csv vanilla seed 1")
    assert "budget in the plan's adversarial" in told
    assert "\n" not in told


def test_a_trial_trains_on_the_rows_of_the_chosen_trial() -> None:
    select = (
        "select:\n  seed: 1\n  options: {held_out: 0.2, sets: [clean, noise]}\n  grid: {learning_rate: [3e-3, 1e-5]}\n"
    )
    text = PLAN.replace("hard\n", "chosen\n", 1) + select
    stages: list[list[PlannedRun]] = []

    def do(plan: Plan) -> list[PlannedRun]:
        stages.append(planned_runs(plan))
        assert "failed" not in sweep(stages[-1]).state.values()
        return stages[-1]

    found = choose(parse_plan(text), do)
    assert found is not None
    rate = next(choice.value for choice in found[1] if choice.method == "vanilla")
    trials = [run for run in stages[1] if run.method == "hard"]
    assert [run.config.training["learning_rate"] for run in trials] == [3e-3, 1e-5]
    for trial in trials:
        needed, run = trial.needs[ROWS], Run.open(trial.folder() or "")
        assert needed.config.training["learning_rate"] == rate
        assert needed.config.held_out == 0.2
        file = Path(str(run.config.adversarial_file))
        assert needed.folder() is not None
        assert (needed.folder() or Path()).resolve() in file.parents
        held = load_data(replace(run.config, adversarial_file=None)).splits["validation"]
        originals = {(row["original"][0].replace(" ", ""),) for row in lines_of(file)}
        assert originals
        assert not originals & {*text_keys(held, ("text",))}
