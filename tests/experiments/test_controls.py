"""The controls of a claim: the run that each name stands for, and `rosetune controls` on a tiny claim."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tiny_run
from helpers import arguments, dataset, make_model, train
from rosetune.experiments import callbacks
from rosetune.experiments.controls import control_configs, train_controls
from rosetune.experiments.options import make_config
from rosetune.experiments.train import train_run
from rosetune.experiments.training import training_defaults
from rosetune.mask_trace import MaskTrace
from rosetune.runs.claimed_run import ClaimedRun, LeftOut
from rosetune.runs.config import RunConfig
from rosetune.runs.controls import CONTROLS, found_controls, left_out
from rosetune.runs.run import Run, RunError
from tiny_run import Killed, Library

ROSE = {"order": "ensemble", "upper": 0.6, "trace": True}
TRAINED = [name for name, control in CONTROLS.items() if control.training is not None]
COMPUTED = ["constant", "flip", "early_stopping", "temperature"]
# Two steps of three tensors with 2, 3 and 5 scalars.
NAMES, SIZES = ("layer.0.a.weight", "layer.0.b.weight", "layer.1.a.weight"), [2, 3, 5]
MULTIPLIERS = [[1.0, 0.5, 0.0], [1.0, 0.0, 0.5]]


@pytest.fixture(scope="module")
def home(library: Library) -> Path:
    return library.home


@pytest.fixture(scope="module")
def trained(home: Path) -> Path:
    """ROSE-Ensemble with a trace, on the clean set."""
    return tiny(home, "claim-to-control", update_mask="rose", update_mask_kwargs=ROSE)


@pytest.fixture
def claim(trained: Path, tmp_path: Path) -> Path:
    """A copy of it without controls."""
    shutil.copytree(trained, tmp_path / "claim")
    return tmp_path / "claim"


@pytest.fixture
def controls(rosetune: Callable[..., tuple[int, str, str]]) -> Callable[..., tuple[int, str, str]]:
    """Call the verb; exit code, standard output and standard error."""
    return lambda *words: rosetune("controls", *words)


def silent(line: str) -> None:
    pass


def claimed(run: Path, **options: Any) -> ClaimedRun:
    return ClaimedRun(Run.open(run), **options)


def tiny(home: Path, name: str, **method: Any) -> Path:
    return train_run(tiny_run.config(home, name, training=method, sets=("clean",)), silent)


def write_claim(folder: Path, trace: bool = True, sets: tuple[str, ...] = ("clean",), **given: Any) -> Path:
    """What the derivation reads of a finished run."""
    config = RunConfig(task="sst2", model_name_or_path="demo", training=given)
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(config.as_yaml(), encoding="utf-8")
    metrics = {"labels": ["bad", "good"], "sets": {name: {} for name in sets}}
    (folder / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    (folder / "run.json").write_text(json.dumps(identity(config)), encoding="utf-8")
    if trace:
        MaskTrace(NAMES, np.array(SIZES), np.array(MULTIPLIERS, dtype=np.float32)).save(folder / "mask_trace.npz")
    return folder


def identity(config: RunConfig) -> dict[str, Any]:
    return config.identity(task="sst2", text_columns=["sentence"], fingerprint="f", defaults=training_defaults())


def options(config: RunConfig, axis: str) -> Any:
    return config.training.get(f"{axis}_kwargs")


# --- what each name stands for ------------------------------------------------------------------------------------


def by_hand(run: Path, other: Path) -> dict[str, list[str]]:
    """The words that train each control of ROSE-Ensemble; the trace keeps (2 + 3/4 + 5/4) / 10 of the scalars."""
    share, two = 0.4, ["--objective_kwargs", '{"passes": 2}']

    def mask(name: str, **kwargs: Any) -> list[str]:
        return ["--update_mask", name, "--update_mask_kwargs", json.dumps(kwargs)]

    rose = {"order": "ensemble", "upper": 0.6}
    return {
        "vanilla": [],
        "two_pass": two,
        "reversed": mask("rose", **rose, keep="highest"),
        "task_gradient": [*mask("rose", **rose, risk="task"), *two],
        "random_fresh": [*mask("random", match="scalars", upper=share, seed=42), *two],
        "random_fixed": [*mask("static", upper=share, match="scalars", seed=42), *two],
        "static": [*mask("static", trace=str(run / "mask_trace.npz"), match="scalars"), *two],
        "replay": [*mask("replay", trace=str(other / "mask_trace.npz")), *two],
        "uniform": [*mask("uniform", multiplier=share), *two],
        "frozen": [*mask("static", frozen="."), *two],
        "same_compute": ["--num_train_epochs", "4"],
        "label_smoothing": ["--objective_kwargs", '{"label_smoothing": 0.1}'],
    }


def test_each_control_is_the_run_that_its_words_train(tmp_path: Path) -> None:
    common = {"num_train_epochs": 2.0, "learning_rate": 1e-4, "per_device_train_batch_size": 32}
    rose = {"update_mask": "rose", "update_mask_kwargs": ROSE}
    run = write_claim(tmp_path / "a", **common, **rose, seed=42, save_steps=40, save_total_limit=100)
    other = write_claim(tmp_path / "b", **common, **rose, seed=43)
    configs = control_configs(claimed(run, trace_of=other))
    assert list(configs) == TRAINED
    base = ["--num_train_epochs", "2", "--learning_rate", "1e-4", "--per_device_train_batch_size", "32"]
    asked = {"task": "sst2", "model_name_or_path": "demo"}
    for name, words in by_hand(run, other).items():
        hand = make_config(options=asked, arguments=[*base, "--seed", "42", *words])
        assert identity(configs[name]) == identity(hand), name
        assert configs[name].output_dir == str(run / "controls" / name)
    source = claimed(run).replay_source
    assert identity(source) == identity(RunConfig.read(other))
    assert source.output_dir == str(run / "controls" / "replay_source")
    assert options(control_configs(claimed(run), ["replay"])["replay"], "update_mask") == {
        "trace": str(run / "controls" / "replay_source" / "mask_trace.npz")
    }


def test_the_set_is_named_and_explained() -> None:
    names = ["vanilla", "two_pass", "reversed", "task_gradient", "random_fresh", "random_fixed", "static", "replay"]
    assert [*names, "uniform", "frozen", "same_compute", "label_smoothing"] == TRAINED
    assert [name for name in CONTROLS if name not in TRAINED] == COMPUTED
    assert all(control.title and control.rules_out for control in CONTROLS.values())


def test_the_density_is_that_of_scalars_over_steps(tmp_path: Path) -> None:
    run = write_claim(tmp_path / "a", update_mask="rose", update_mask_kwargs=ROSE)
    shares = [sum(m * n for m, n in zip(row, SIZES, strict=True)) / sum(SIZES) for row in MULTIPLIERS]
    assert shares == [0.35, 0.45]
    assert claimed(run).density == round(sum(shares) / 2, 4)
    rng = np.random.default_rng(0)
    multipliers = rng.choice([0, 0.5, 1], (7, 3)).astype(np.float32)
    MaskTrace(NAMES, np.array(SIZES), multipliers).save(run / "mask_trace.npz")
    expected = np.mean([np.average(row, weights=SIZES) for row in multipliers])
    assert claimed(run).density == pytest.approx(expected, abs=5e-5)
    assert claimed(run).density != pytest.approx(multipliers.mean(), abs=1e-3)


def test_every_control_is_evaluated_on_what_the_claim_is(tmp_path: Path) -> None:
    sets = ("clean", "clean_mismatched", "typos_1", "typos_2", "ocr@0.25", "advglue", "advglue_originals")
    run = write_claim(tmp_path / "a", sets=sets, update_mask="rose", update_mask_kwargs=ROSE)
    for config in (*control_configs(claimed(run)).values(), claimed(run).replay_source):
        assert config.sets == ("clean", "noise", "noise_curve", "advglue")


def test_what_publishes_or_names_the_claim_is_not_passed_on(tmp_path: Path) -> None:
    given = {"push_to_hub": True, "hub_model_id": "me/mine", "run_name": "rose", "save_steps": 5}
    run = write_claim(tmp_path / "a", update_mask="rose", update_mask_kwargs=ROSE, **given)
    for config in (*control_configs(claimed(run)).values(), claimed(run).replay_source):
        assert {*given} & {*config.training} == {"save_steps"}


@pytest.mark.parametrize(
    ("method", "passes"),
    [
        ({"update_mask_kwargs": {"order": "second"}}, None),
        ({"update_mask_kwargs": {"order": "first"}}, 2),
        ({"update_mask_kwargs": {"order": "first"}, "objective_kwargs": {"passes": 1}}, None),
        ({"update_mask_kwargs": {"order": "second"}, "objective_kwargs": {"passes": 2}}, 2),
        ({"update_mask_kwargs": {"order": "first", "risk": "task"}}, None),
    ],
)
def test_a_masks_control_keeps_the_loss_of_the_claim(tmp_path: Path, method: dict[str, Any], passes: Any) -> None:
    run = write_claim(tmp_path / "a", update_mask="rose", **method)
    for name in ("random_fresh", "random_fixed", "static", "replay", "uniform", "frozen"):
        config = control_configs(claimed(run), [name])[name]
        assert (options(config, "objective") or {}).get("passes") == passes, name
    assert ("two_pass" in control_configs(claimed(run))) is (passes == 2)


def test_the_claims_objective_and_targets_are_kept(tmp_path: Path) -> None:
    mask = {"order": "first", "target_parameters": "query", "trace": True}
    objective = {"objective": "r_drop", "objective_kwargs": {"alpha": 0.5, "class_weights": [1, 2]}}
    run = write_claim(tmp_path / "a", update_mask="rose", update_mask_kwargs=mask, **objective)
    configs = control_configs(claimed(run))
    for name in ("reversed", "task_gradient", "random_fresh", "random_fixed", "static", "replay", "uniform", "frozen"):
        assert {n: configs[name].training[n] for n in objective} == objective
        assert options(configs[name], "update_mask")["target_parameters"] == "query"
    assert {"update_mask"} & configs["two_pass"].training.keys() == set()
    assert {n: configs["two_pass"].training[n] for n in objective} == objective
    weights = {"class_weights": [1, 2]}
    assert options(configs["vanilla"], "objective") == options(configs["same_compute"], "objective") == weights
    assert options(configs["label_smoothing"], "objective") == {**weights, "label_smoothing": 0.1}
    assert all("objective" not in configs[name].training for name in ("vanilla", "same_compute", "label_smoothing"))


@pytest.mark.parametrize(
    ("method", "reasons"),
    [
        ({"update_mask": "rose"}, {"static": "recorded no trace", "uniform": "recorded no trace"}),
        ({"objective": "smart"}, {"frozen": "no update mask", "reversed": "not ROSE", "same_compute": "not counted"}),
        ({"update_mask": "child_tuning"}, {"random_fresh": "only ROSE records", "task_gradient": "not ROSE"}),
        (
            {"update_mask": "rose", "update_mask_kwargs": {"order": "second"}},
            {"two_pass": "takes one pass", "task_gradient": "no gradient", "same_compute": "passes of a plain one"},
        ),
        ({"update_mask": "rose", "update_mask_kwargs": {"keep": "highest"}}, {"reversed": "the claim itself"}),
        ({"objective_kwargs": {"passes": 2}}, {"two_pass": "the claim itself"}),
        ({"objective": "r_drop"}, {"two_pass": "the claim itself"}),
        ({"objective_kwargs": {"label_smoothing": 0.1}}, {"label_smoothing": "the claim itself"}),
    ],
)
def test_what_has_no_meaning_is_left_out_with_a_reason(
    tmp_path: Path, method: dict[str, Any], reasons: dict[str, str]
) -> None:
    run = write_claim(tmp_path / "a", trace=False, **method)
    told, configs = left_out(claimed(run)), control_configs(claimed(run))
    assert {*told} | {*configs} == {*TRAINED}
    assert not {*told} & {*configs}
    for name, reason in reasons.items():
        assert reason in told[name]
        with pytest.raises(RunError, match=f"{name} is no control of .*{reason}"):
            control_configs(claimed(run), [name])


def test_a_claim_must_claim_something_and_be_finished(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="plain fine-tuning, which claims nothing"):
        control_configs(claimed(write_claim(tmp_path / "a", trace=False, seed=3)))
    (tmp_path / "b").mkdir()
    with pytest.raises(RunError, match="no finished run"):
        control_configs(claimed(tmp_path / "b"))
    run = write_claim(tmp_path / "c", update_mask="rose", update_mask_kwargs=ROSE)
    with pytest.raises(RunError, match=r"no control is called 'vanila': did you mean vanilla\?"):
        control_configs(claimed(run), ["vanila"])
    with pytest.raises(RunError, match="flip is not trained: `rosetune compare` computes it"):
        control_configs(claimed(run), ["flip"])


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"seed": 1}, "it has the same seed"),
        ({"seed": 2, "learning_rate": 1e-3}, "they differ in learning_rate, seed"),
        ({"seed": 2, "update_mask_kwargs": {"trace": True}}, "they differ in seed, update_mask_kwargs"),
    ],
)
def test_a_replayed_trace_is_of_the_claim_with_another_seed(tmp_path: Path, other: Any, message: str) -> None:
    own = {"update_mask": "rose", "update_mask_kwargs": ROSE}
    run, run2 = write_claim(tmp_path / "a", seed=1, **own), write_claim(tmp_path / "b", **{**own, **other})
    with pytest.raises(RunError, match=message):
        control_configs(claimed(run, trace_of=run2))


# --- as much computation as the claim -----------------------------------------------------------------------------


def passes_of_two_steps(tmp_path: Path, method: dict[str, Any]) -> float:
    """Forward and backward passes through the last layer of the third and fourth step: the first one checks itself."""
    return _passes(tmp_path, method, 4) - _passes(tmp_path, method, 2)


def _passes(tmp_path: Path, method: dict[str, Any], steps: int) -> float:
    model, rows = make_model(), {"forward": 0, "backward": 0}

    def watch(module: Any, args: Any, output: Any) -> None:
        states = output[0] if isinstance(output, tuple) else output
        rows["forward"] += len(states)
        states.register_hook(lambda gradient: rows.__setitem__("backward", rows["backward"] + len(gradient)))

    model.bert.encoder.layer[-1].register_forward_hook(watch)
    train(model, arguments(tmp_path, max_steps=steps, **method), dataset(rows=32))
    return sum(rows.values()) / 16


@pytest.mark.parametrize("objective", [{}, {"objective_kwargs": {"passes": 2}}, {"objective": "r_drop"}])
@pytest.mark.parametrize("mask", ["first", "second", "ensemble", "task", None])
def test_the_same_compute_is_counted_in_passes(tmp_path: Path, objective: dict[str, Any], mask: str | None) -> None:
    """Over those of plain cross-entropy, counted in the network itself."""
    rose = {"order": "first", "risk": "task"} if mask == "task" else {"order": mask}
    method = {**objective, **({"update_mask": "rose", "update_mask_kwargs": rose} if mask else {})}
    if not method:
        return
    run = write_claim(tmp_path / "run", trace=False, **method)
    assert claimed(run).step_cost() == passes_of_two_steps(tmp_path, method) / passes_of_two_steps(tmp_path, {})


@pytest.mark.parametrize("objective", [{}, {"objective": "r_drop"}])
def test_the_same_compute_of_a_mask_that_stays_in_force(tmp_path: Path, objective: dict[str, Any]) -> None:
    """Steps three and four are one that makes a mask, from half of the rows, and one that does not."""
    rose = {"order": "first", "refresh": 2, "consistency_share": 0.5}
    method = {**objective, "update_mask": "rose", "update_mask_kwargs": rose}
    run = write_claim(tmp_path / "run", trace=False, **method)
    assert claimed(run).step_cost() == passes_of_two_steps(tmp_path, method) / passes_of_two_steps(tmp_path, {})
    adaptive = {**method, "update_mask_kwargs": {**rose, "agreement": 0.5}}
    with pytest.raises(LeftOut, match="give refresh without agreement"):
        claimed(write_claim(tmp_path / "other", trace=False, **adaptive)).step_cost()


def test_the_length_of_the_same_compute(tmp_path: Path) -> None:
    rose = {"update_mask": "rose", "update_mask_kwargs": ROSE}
    lengths = ({}, {"num_train_epochs": 0.5}, {"max_steps": 7})
    expected = ({"num_train_epochs": 6}, {"num_train_epochs": 1}, {"max_steps": 14})
    for i, (given, length) in enumerate(zip(lengths, expected, strict=True)):
        assert (
            control_configs(claimed(write_claim(tmp_path / str(i), **rose, **given)))["same_compute"].training
            == length
        )


# --- runs ---------------------------------------------------------------------------------------------------------


def test_a_killed_call_goes_on_and_a_finished_one_does_nothing(
    home: Path, claim: Path, controls: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = (claim, "--only", "frozen,replay,vanilla")

    tick = callbacks.StepTimer.on_step_end

    def on_step_end(self: Any, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        tick(self, args, state, control, **kwargs)
        if state.global_step == 5 and Path(args.output_dir).name in dying:
            raise Killed

    monkeypatch.setattr(callbacks.StepTimer, "on_step_end", on_step_end)
    for name in ("replay_source", "frozen"):
        dying = (name,)
        with pytest.raises(Killed):
            controls(*words)
        assert not (claim / "controls" / name / "metrics.json").exists()
    dying = ()
    code, out, err = controls(*words)
    assert code == 0
    assert "resuming from checkpoint-4" in err
    whole = {
        "vanilla": tiny(home, "vanilla"),
        "replay_source": tiny(home, "source", update_mask="rose", update_mask_kwargs=ROSE, seed=2),
    }
    two = {"objective_kwargs": {"passes": 2}}
    replay = {"trace": str(whole["replay_source"] / "mask_trace.npz")}
    whole["replay"] = tiny(home, "replay", **two, update_mask="replay", update_mask_kwargs=replay)
    whole["frozen"] = tiny(home, "frozen", **two, update_mask="static", update_mask_kwargs={"frozen": "."})
    for name, run in whole.items():
        ours, theirs = tiny_run.contents(claim / "controls" / name), tiny_run.contents(run)
        assert json.loads(ours.pop("run.json")) == json.loads(theirs.pop("run.json"))
        if name in ("vanilla", "replay"):  # one keeps its checkpoints, one names the trace where it lies
            assert ours.pop("config.yaml") != theirs.pop("config.yaml")
        assert ours == theirs, name
    assert {path.parent.name for path in (claim / "controls").rglob("checkpoint-*")} == {"vanilla"}
    assert [*found_controls(Run(claim))] == ["vanilla", "replay", "frozen"]
    for name, run in {"the claim": Run(claim), **found_controls(Run(claim))}.items():
        (line,) = [line for line in out.splitlines() if line.startswith(f"{name} ")]
        assert f"{100 * run.metrics['sets']['clean']['accuracy']:.1f}" in line

    files = {path: path.stat().st_mtime_ns for path in claim.rglob("*") if path.is_file()}
    code, again, err = controls(*words)
    assert (code, again) == (0, out)
    assert err.count("is finished; nothing to do") == 4  # with the source of the replay
    assert {path: path.stat().st_mtime_ns for path in claim.rglob("*") if path.is_file()} == files

    code, out, _ = controls(*words, "--json")
    assert json.loads(out) == {name: run.metrics for name, run in found_controls(Run(claim)).items()}


def test_runs_by_hand_count_as_finished(home: Path, claim: Path) -> None:
    """Those of the baseline and of a replay, whose source stays the one it has."""
    source = tiny(home, "other", update_mask="rose", update_mask_kwargs=ROSE, seed=5)
    replay = {"update_mask": "replay", "update_mask_kwargs": {"trace": str(source / "mask_trace.npz")}}
    made = {"two_pass": {}, "replay": replay}
    for name, method in made.items():
        tiny(home, str(claim / "controls" / name), objective_kwargs={"passes": 2}, **method)
    lines: list[str] = []
    train_controls(claimed(claim), list(made), report=lines.append)
    assert [line for line in lines if line.endswith("is finished; nothing to do")] == [
        f"{claim / 'controls' / name} is finished; nothing to do" for name in made
    ]
    assert not (claim / "controls" / "replay_source").exists()
    shutil.move(source, home / "moved")
    with pytest.raises(RunError, match="is not there: name the run that holds it with --trace_of"):
        control_configs(claimed(claim))
    train_controls(claimed(claim, trace_of=home / "moved"), ["replay"], report=lines.append)
    assert lines[-1].endswith("nothing to do")


def test_a_run_of_another_seed_is_no_control(home: Path, claim: Path) -> None:
    shutil.copytree(tiny(home, "seed-9", seed=9), claim / "controls" / "vanilla")
    with pytest.raises(RunError, match=r"vanilla is no control of .*, from which it differs in seed"):
        found_controls(Run(claim))
    shutil.rmtree(claim / "controls" / "vanilla")
    shutil.copytree(tiny(home, "vanilla"), claim / "controls" / "frozen")
    with pytest.raises(RunError, match="is not the control frozen of"):
        found_controls(Run(claim))
    with pytest.raises(RunError, match="holds a run of another configuration"):
        train_controls(claimed(claim), ["frozen"], report=silent)


def test_the_list_says_what_is_there(
    home: Path, claim: Path, controls: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(tiny(home, "vanilla"), claim / "controls" / "vanilla")
    code, out, _ = controls(claim, "--list", "--json")
    states = json.loads(out)
    assert code == 0
    assert [*states] == [*CONTROLS]
    assert {name for name, state in states.items() if state["state"] == "finished"} == {"vanilla"}
    assert {name for name, state in states.items() if state["state"] == "computed"} == {*COMPUTED}
    for width in ("80", "120"):
        monkeypatch.setenv("COLUMNS", width)
        _, out, _ = controls(claim, "--list")
        assert max(map(len, out.splitlines())) <= int(width)
        firsts = [line[1:].split(" ")[0] for line in out.splitlines()]
        assert [word for word in firsts if word in CONTROLS] == [*CONTROLS]
        assert "…" not in out
    (claim / "mask_trace.npz").unlink()
    _, out, _ = controls(claim, "--list")
    named = "random_fresh, random_fixed, static, replay, uniform left out: the claim recorded no trace"
    assert named in " ".join(out.split())
