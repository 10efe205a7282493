"""A plan comes to the same results however it is run: at once, in shares, killed and started again."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
import yaml

import forked
import tiny_run
from rosetune import cli
from rosetune.experiments.adversarial_options import AdversarialOptions
from rosetune.experiments.attack_options import AttackOptions
from rosetune.experiments.executors import LocalExecutor
from rosetune.experiments.expansion import planned_runs
from rosetune.experiments.plan_reader import parse_plan
from rosetune.experiments.planned import shard_of
from rosetune.experiments.ray_executor import _absolute
from rosetune.experiments.train import train_run
from rosetune.experiments.worker import Job
from rosetune.report.html.overview import failed_lines
from rosetune.runs.config import RunConfig

pytestmark = pytest.mark.usefixtures("at_home")

PLAN = """
output_dir: {out}
threads: 1
tasks: [my.csv]
models: [./model]
seeds: [1, 2]
options: {{max_steps: {steps}, save_steps: 2, per_device_train_batch_size: 8, learning_rate: 2e-3, sets: clean}}
methods:
  vanilla:
  static: {{update_mask: static, update_mask_kwargs: {{trace: {{method: rose-ensemble}}, upper: 0.5}}}}
  rose-ensemble: {{update_mask_kwargs: {{upper: 0.5, trace: true}}}}
"""
ATTACK = "attack: {attack: deepwordbug, examples: 4, budget: 20}\n"
FULL = """
output_dir: {out}
threads: 1
tasks: [my.csv]
models: [./model]
seeds: {seeds}
options: {{max_steps: 4, save_steps: 2, per_device_train_batch_size: 8, learning_rate: 2e-3, sets: clean}}
methods: [vanilla]
"""
Verb = Callable[..., tuple[int, str, str]]


def plan(out: str, steps: int = 4, more: str = "") -> str:
    """The plan's file."""
    Path(f"{out}.yaml").write_text(PLAN.format(out=out, steps=steps) + more, encoding="utf-8")
    return f"{out}.yaml"


def results(out: str) -> dict[str, dict[str, bytes]]:
    """What each run must share with its repetitions; a configuration names the trace by its path."""
    found = {str(path.parent.relative_to(out)): tiny_run.contents(path.parent) for path in Path(out).rglob("run.json")}
    return {run: {n: data for n, data in files.items() if n != "config.yaml"} for run, files in found.items()}


@pytest.fixture(scope="module")
def alone(home: Path) -> dict[str, dict[str, bytes]]:
    """The plan's runs in this process, one after the other, without any executor."""
    text = PLAN.format(out=home / "alone", steps=4).replace("[my.csv]", f"[{home}/my.csv]")
    with tiny_run.quick():
        for run in planned_runs(parse_plan(text.replace("./model", f"{home}/model"))):
            now = run.now()
            assert now is not None
            train_run(now[0], tiny_run.silent)
    return results(str(home / "alone"))


def test_jobs_at_a_time_and_shards(rosetune: Verb, alone: dict[str, dict[str, bytes]]) -> None:
    shares = []
    for number in (1, 2):
        code, _, err = rosetune("sweep", plan("shards"), "--jobs", 2, "--shard", f"{number}/2")
        assert code == 0, err
        shares.append({*results("shards")})
    assert shares[0] < shares[1] == {*alone}
    assert results("shards") == alone
    assert len(alone) == 6
    # Before the trace is there that a run reads, its key is not that of its folder: the log names the folder.
    assert len([*Path("shards/logs").glob("*.log")]) == 6
    assert failed_lines(["shards"]) == []


def test_what_is_done_is_not_started(
    rosetune: Verb, alone: dict[str, dict[str, bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LocalExecutor, "start", None)
    before = tiny_run.snapshot(Path("alone"))
    code, out, _ = rosetune("sweep", plan("alone"))
    assert code == 0
    assert out.splitlines()[-2].split() == ["all", "6", "6", "-", "-", "-", "-"]
    assert tiny_run.snapshot(Path("alone")) == before


def test_a_run_that_fails_leaves_the_others_alone(rosetune: Verb) -> None:
    failing = "  broken: {update_mask: static, update_mask_kwargs: {frozen: no_such_tensor}}\n"
    text = PLAN.format(out="failing", steps=2).replace("seeds: [1, 2]", "seeds: [1]") + failing
    blocked = text.replace("{upper: 0.5, trace: true}", "{upper: 0.5, trace: true, target_parameters: no_such_tensor}")
    Path("failing.yaml").write_text(blocked + ATTACK, encoding="utf-8")
    code, out, _ = rosetune("sweep", "failing.yaml", "--jobs", 2)
    assert code == 1
    told = " ".join(out.split())
    assert "all 4 - 1 - 3 -" in told
    assert "my.csv static seed 1: it needs the trace of my.csv rose-ensemble seed 1, which failed" in told
    (log,) = Path("failing/logs").glob("my-static-seed-1*.log")
    assert f"all of it: {log}" in told
    assert "no_such_tensor" in log.read_text(encoding="utf-8")
    assert log.read_text(encoding="utf-8").strip().splitlines()[-1] in out
    (trained,) = Path("failing").rglob("metrics.json")
    assert trained.parent.parent.name == "vanilla"
    assert list((trained.parent / "attacks").glob("deepwordbug*.jsonl"))


def start(file: str) -> BaseProcess:
    return forked.started(Path(file).with_suffix(".txt"), cli.main, ["sweep", file, "--jobs", "2"])


def trained(out: str) -> dict[str, tuple[int, bytes]]:
    """The file that each trained run has written at the end of its training, and when."""
    files = [path / "timing.json" for path in Path(out).rglob("model") if path.is_dir()]
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


def at_work(out: str) -> set[int]:
    """The processes that hold a run's folder."""
    numbers = [path.read_text().strip() for path in Path(out).rglob(".lock")]
    return {int(number) for number in numbers if number and Path(f"/proc/{number}").is_dir()}


def kill_while_it_trains(sweep: BaseProcess, out: str, ready: Callable[[], bool]) -> None:
    """SIGKILL to the sweep alone: what it has started must end by itself."""
    limit = time.monotonic() + 300
    while not ready() and sweep.is_alive() and time.monotonic() < limit:
        time.sleep(0.05)
    workers, limit = at_work(out), time.monotonic() + 300
    sweep.kill()
    sweep.join()
    while workers & at_work(out) and time.monotonic() < limit:
        time.sleep(0.05)
    assert not workers & at_work(out), "a process of the sweep lives on"


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="looks for processes in /proc")
def test_a_killed_sweep_goes_on(rosetune: Verb) -> None:
    for name in ("killed", "undisturbed"):
        file = Path(plan(name, steps=20))
        file.write_text(file.read_text(encoding="utf-8").replace("[1, 2]", "[1]"), encoding="utf-8")
    sweep = start("killed.yaml")
    kill_while_it_trains(sweep, "killed", lambda: bool(list(Path("killed").rglob("checkpoint-*/trainer_state.json"))))
    assert sweep.exitcode == -signal.SIGKILL
    assert len(list(Path("killed").rglob("metrics.json"))) < 3
    assert rosetune("sweep", "killed.yaml", "--jobs", 2)[0] == 0
    resumed = [p for p in Path("killed").rglob("timing.json") if '"resumed_from": "checkpoint' in p.read_text()]
    assert resumed
    assert rosetune("sweep", "undisturbed.yaml", "--jobs", 2)[0] == 0
    assert results("killed") == results("undisturbed")


def test_a_full_disk_loses_nothing_and_is_said(
    rosetune: Verb, tmp_path: Path, alone: dict[str, dict[str, bytes]]
) -> None:
    """Of two runs the first is done. The second finds no room, then room for the beginning of its files alone."""

    def sweep(seeds: str) -> tuple[int, str]:
        Path("full.yaml").write_text(FULL.format(out=out, seeds=seeds), encoding="utf-8")
        code, said, _ = rosetune("sweep", "full.yaml")
        return code, " ".join(said.split())

    with tiny_run.small_disk(tmp_path / "disk", 8) as disk:
        out = disk / "out"
        assert sweep("[1]")[0] == 0
        (first,) = results(str(out))
        before = tiny_run.snapshot(out / first)
        for free in (0, 150_000):
            filler = tiny_run.fill_disk(disk, but_for=free)
            code, said = sweep("[1, 2]")
            assert code == 1
            assert "seed 2: no space is left on the disk: free some and give the same command again" in said
            assert tiny_run.snapshot(out / first) == before
            filler.unlink()
        assert sweep("[1, 2]")[0] == 0
        assert tiny_run.snapshot(out / first) == before
        assert results(str(out)) == {run: files for run, files in alone.items() if "vanilla" in run}
        assert len(results(str(out))) == 2


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="looks for processes in /proc")
def test_a_sweep_that_is_killed_again_and_again(rosetune: Verb) -> None:
    chance, file, done = random.Random(0), plan("often", 40, ATTACK), dict[str, tuple[int, bytes]]()
    for _ in range(5):
        sweep, seconds = start(file), chance.uniform(0.2, 8)
        began: list[float] = []

        def ready(seconds: float = seconds, began: list[float] = began) -> bool:
            if not began and at_work("often"):
                began.append(time.monotonic())
            return bool(began) and time.monotonic() - began[0] > seconds

        kill_while_it_trains(sweep, "often", ready)
        done |= trained("often")
    assert rosetune("sweep", file, "--jobs", 2)[0] == 0
    assert {**trained("often"), **done} == trained("often")  # what had been trained has not been trained again
    assert rosetune("sweep", plan("never", 40, ATTACK), "--jobs", 2)[0] == 0
    assert results("often") == results("never")
    assert len(results("never")) == 6


@pytest.mark.slow
def test_ray_comes_to_the_same_and_replaces_a_killed_worker(alone: dict[str, dict[str, bytes]]) -> None:
    pytest.importorskip("ray")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "rosetune", "sweep", plan("ray"), "--executor", "ray", "--jobs", "2"]
    with subprocess.Popen(
        command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as sweep:
        limit = time.monotonic() + 300
        while not at_work("ray") and sweep.poll() is None and time.monotonic() < limit:
            time.sleep(0.05)
        (killed, *_) = at_work("ray")
        os.kill(killed, signal.SIGKILL)
        said = sweep.communicate(timeout=600)
    assert sweep.returncode == 0, said
    assert results("ray") == alone


def test_names_stay_names_and_paths_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("sst2", "demo", "mine", "model"):
        Path(name).mkdir()
    Path("a.json").write_text("{}", encoding="utf-8")
    attacks = (
        AttackOptions(attack=("pwws",), synonyms="a.json"),
        AttackOptions(attack=("pwws",), synonyms="wordnet"),
        AttackOptions(attack=("deepwordbug",)),
    )

    def on_a_node(task: str, model: str) -> Job:
        config = RunConfig(task, model, output_dir="out", training={"deepspeed": "a.json"})
        rows = AdversarialOptions(attack=("pwws",), synonyms="a.json")
        return _absolute(Job("key", config, attacks, Path("log"), rows))

    job = on_a_node("sst2", "demo")
    assert (job.config.task, job.config.model_name_or_path) == ("sst2", "demo")
    assert job.config.training == {"deepspeed": f"{tmp_path}/a.json"}
    assert [options.synonyms for options in job.attacks] == [f"{tmp_path}/a.json", "wordnet", None]
    assert job.adversarial is not None
    assert job.adversarial.synonyms == f"{tmp_path}/a.json"
    assert (job.config.output_dir, job.log) == (f"{tmp_path}/out", tmp_path / "log")
    assert on_a_node("demo", "demo").config.task == "demo"
    job = on_a_node("mine", "model")
    assert (job.config.task, job.config.model_name_or_path) == (f"{tmp_path}/mine", f"{tmp_path}/model")
    kept = yaml.safe_load(RunConfig("sst2", "demo").as_yaml())
    assert (kept["task"], kept["model_name_or_path"]) == ("sst2", "demo")
    kept = yaml.safe_load(RunConfig("mine", "model").as_yaml())
    assert (kept["task"], kept["model_name_or_path"]) == (f"{tmp_path}/mine", f"{tmp_path}/model")


def test_the_number_of_threads_is_told_and_the_table_shown(rosetune: Verb) -> None:
    text = PLAN.format(out="shown", steps=2).replace("seeds: [1, 2]", "seeds: [1]")
    text = text[: text.index("  static")].replace("threads: 1\n", "") + "left_out: [all the rest]\n"
    Path("shown.yaml").write_text(text + "table: {layout: table1, sets: [clean]}\n", encoding="utf-8")
    code, out, err = rosetune("sweep", "shown.yaml", "--jobs", 64)
    assert code == 0, err
    assert "`threads: 1` in the plan" in out
    assert any(line.split()[:1] == ["vanilla"] for line in out.splitlines())
    assert "- all the rest" in out
    assert "of the cores" not in rosetune("sweep", "shown.yaml")[1]  # nothing is left


def test_a_shard_holds_what_its_runs_need() -> None:
    runs = planned_runs(parse_plan(PLAN.format(out="out", steps=4).replace("[1, 2]", str([*range(12)]))))
    shares = [shard_of(runs, number, 5) for number in range(1, 6)]
    assert sorted(run.key for share in shares for run in share) == sorted(run.key for run in runs)
    for share in shares:
        before: set[str] = set()
        for run in share:
            assert {needed.key for needed in run.needs.values()} <= before
            before.add(run.key)
    assert min(map(len, shares)) > 0
