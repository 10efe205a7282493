"""A search: what it judges by, what it can never reach, what it keeps, and that it goes on as if never killed."""

import json
import math
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml

import killed_search
import killed_study
import tiny_run
from rosetune.data.rows import text_keys
from rosetune.data.sources import load_task
from rosetune.experiments import train
from rosetune.experiments.errors import FolderError, HeldError
from rosetune.experiments.lock import locked
from rosetune.experiments.options import make_config
from rosetune.experiments.samplers import SeededSampler, distribution, make_sampler
from rosetune.experiments.search import run_search
from rosetune.experiments.search_options import SearchOptions
from rosetune.experiments.search_space import grid_points, read_space
from rosetune.experiments.trials import Trials
from rosetune.runs.run import Run
from rosetune.runs.values import RunError
from tiny_run import Library

RATES = ("learning_rate=0.0001,0.02",)
TRAINING = {"max_steps": 20, "save_steps": 20}


def config(library: Library, folder: Path, **options: Any) -> Any:
    return tiny_run.config(library.home, str(folder), training=options.pop("training", TRAINING), **options)


@pytest.fixture(scope="module")
def found(library: Library) -> dict[str, Any]:
    """A search over two learning rates, of which one learns and one does not."""
    options = SearchOptions(sampler="grid", objective_mix="clean=3,noise=1")
    wanted = config(library, library.home / "searched", held_out=40)
    return run_search(wanted, read_space(RATES), options, report=tiny_run.silent)


def test_a_trial_is_judged_by_the_weighted_mean_of_its_sets(found: dict[str, Any]) -> None:
    assert [trial["state"] for trial in found["trials"]] == ["complete", "complete"]
    for trial in found["trials"]:
        run = Run.open(Path(found["folder"]) / "trials" / f"{trial['number']:04}" / "seed-1")
        sets = {name: metrics["accuracy"] for name, metrics in run.metrics["sets"].items()}
        noisy = (sets["typos_1"] + sets["typos_2"]) / 2
        assert math.isclose(trial["value"], (3 * sets["clean"] + 1 * noisy) / 4)
        assert run.config.training["learning_rate"] == trial["options"]["learning_rate"]
    assert found["best"]["value"] == max(trial["value"] for trial in found["trials"])
    assert found["best"]["options"] == {"learning_rate": 0.02}


def test_no_trial_holds_a_row_that_is_reported(found: dict[str, Any], library: Library) -> None:
    """Of the file's own split, neither the validation nor the test rows; what is judged is not trained on."""
    data = load_task(str(library.home / "my.csv"))
    reported = {key for name in ("validation", "test") for key in text_keys(data.splits[name], data.text_columns)}
    training = dict(zip(data.splits["train"]["id"][:], data.splits["train"]["text"][:], strict=True))
    for path in Path(found["folder"]).glob("trials/*/*/predictions/clean.jsonl"):
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        assert len(rows) == 40
        judged = {(training[row["id"]],) for row in rows}
        assert not judged & reported


def test_the_evaluation_data_is_gone_before_a_trial_begins(
    library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever a trial's training and evaluation are given holds no reported text."""
    tiny_run.write_csv(tmp_path / "reported.csv", rows=30, seed=9)
    reported = {*load_task(str(tmp_path / "reported.csv")).splits["train"]["text"]}
    seen: list[set[str]] = []
    training, evaluate = train.Training, train.evaluate_run

    def watch(data: Any) -> None:
        seen.append({text for rows in data.splits.values() for text in rows["text"]})

    def watched_training(config: Any, data: Any, args: Any) -> Any:
        watch(data)
        return training(config, data, args)

    def watched_evaluation(folder: Any, data: Any, *args: Any, **kwargs: Any) -> Any:
        watch(data)
        return evaluate(folder, data, *args, **kwargs)

    monkeypatch.setattr(train, "Training", watched_training)
    monkeypatch.setattr(train, "evaluate_run", watched_evaluation)
    wanted = config(
        library, tmp_path / "search", training={"max_steps": 1}, validation_file=str(tmp_path / "reported.csv")
    )
    run_search(wanted, read_space(RATES), SearchOptions(trials=1), report=tiny_run.silent)
    assert len(seen) == 2
    assert reported
    assert not any(texts & reported for texts in seen)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"objective_mix": "clean=1,advglue=1"}, "advglue is reported, and nothing is chosen on it"),
        ({"objective_mix": "clean=0"}, "weights above 0"),
        ({"objective_mix": "clean=x"}, "weights above 0"),
        ({"objective_mix": "clean=1,clean=2"}, "each of clean, noise, noise_curve one weight"),
        ({"objective_mix": "typos=1"}, "each of clean, noise, noise_curve one weight, not 'typos'"),
        ({"sampler": "bayes"}, "--sampler must be one of tpe, grid, random"),
        ({"trials": 0}, "--trials must be at least 1"),
        ({"worker": "a/b"}, "--worker must be a name"),
    ],
)
def test_options_out_of_their_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(RunError, match=message):
        SearchOptions(**options)


@pytest.mark.parametrize(
    ("words", "options", "message"),
    [
        (("update_mask_kwargs.upper=0:0.9:0.1",), {}, "--space update_mask_kwargs.upper: 0 is no value for it"),
        (("optim=adamw_torch,sgdd",), {}, "--space optim: 'sgdd' is no value for it"),
        (RATES, {"rungs": 4}, "--rungs 4 shortens trials to a 27th of --max_steps"),
        (("learning_rate=1e-4:1e-3",), {"sampler": "grid"}, "grid needs a step for learning_rate"),
    ],
)
def test_a_mistake_is_said_before_anything_is_trained(
    library: Library, tmp_path: Path, words: tuple[str, ...], options: dict[str, Any], message: str
) -> None:
    wanted = config(library, tmp_path / "s", training={**TRAINING, "update_mask": "rose"})
    with pytest.raises(RunError, match=message):
        run_search(wanted, read_space(words), SearchOptions(**options), report=tiny_run.silent)
    assert not list(tmp_path.rglob("run.json"))


def test_a_finished_search_trains_nothing_and_another_one_is_refused(found: dict[str, Any], library: Library) -> None:
    folder = Path(found["folder"])
    before = tiny_run.snapshot(folder / "trials")
    options = SearchOptions(sampler="grid", objective_mix="clean=3,noise=1")
    wanted = config(library, folder, held_out=40)
    assert run_search(wanted, read_space(RATES), options, report=tiny_run.silent) == found
    assert tiny_run.snapshot(folder / "trials") == before
    with pytest.raises(RunError, match=r"holds another search \(.*held_out: 40.0 there, 30.0 here"):
        run_search(config(library, folder, held_out=30), read_space(RATES), options, report=tiny_run.silent)


def test_a_record_whose_last_line_broke_off_is_read(found: dict[str, Any], library: Library) -> None:
    """As a full disk leaves it."""
    with (Path(found["folder"]) / "journal.log").open("ab") as file:
        file.write(b'{"op_code":4,"worker_id":"x')
    options = SearchOptions(sampler="grid", objective_mix="clean=3,noise=1")
    wanted = config(library, Path(found["folder"]), held_out=40)
    assert run_search(wanted, read_space(RATES), options, report=tiny_run.silent) == found


def test_best_options_are_a_config_of_an_ordinary_run(found: dict[str, Any], library: Library) -> None:
    path = Path(found["folder"]) / "best.yaml"
    best = make_config(config_file=str(path))
    assert best.training["learning_rate"] == found["best"]["options"]["learning_rate"]
    assert best.held_out is None
    assert best.training["max_steps"] == TRAINING["max_steps"]
    assert "output_dir" not in yaml.safe_load(path.read_text(encoding="utf-8"))


def test_the_weights_of_a_trial_are_not_kept(found: dict[str, Any]) -> None:
    assert not list(Path(found["folder"]).rglob("*.safetensors"))


def test_successive_halving_by_hand(library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the n values that came to a rung so far, itself included, the best max(1, n // 3) go on."""
    from rosetune.experiments import trials

    short = {0: 0.5, 1: 0.6, 2: 0.4, 3: 0.7, 4: 0.65, 5: 0.3, 6: 0.66, 7: 0.71, 8: 0.2}
    trained: list[tuple[int, int]] = []

    def scores(self: Any, number: int, options: Any, steps: int) -> dict[str, Any]:
        trained.append((number, steps))
        return {"value": short[number] if steps == 20 else 1 - number / 100, "clean": 0.0, "steps": steps}

    monkeypatch.setattr(trials.Trials, "_train", scores)
    options = SearchOptions(sampler="random", rungs=2, trials=9, objective_mix="clean=1")
    wanted = config(library, tmp_path / "s", training={"max_steps": 60}, held_out=40)
    found = run_search(wanted, read_space(["learning_rate=1e-6:1e-5"]), options, report=tiny_run.silent)
    assert [number for number, steps in trained if steps == 20] == list(range(9))
    # 0.65 is second of five, of which one goes on; 0.66 is second of seven, of which two do.
    assert [number for number, steps in trained if steps == 60] == [0, 1, 3, 6, 7]
    states = [trial["state"] for trial in found["trials"]]
    assert [number for number, state in enumerate(states) if state == "complete"] == [0, 1, 3, 6, 7]
    assert states.count("pruned") == 4
    assert found["best"]["number"] == 0
    assert {*found["importance"]} == {"learning_rate"}


def test_equal_options_are_trained_once(library: Library, tmp_path: Path) -> None:
    wanted = config(library, tmp_path / "s", training={"max_steps": 1}, held_out=40)
    options = SearchOptions(sampler="random", trials=4, objective_mix="clean=1")
    trials = run_search(wanted, read_space(RATES), options, report=tiny_run.silent)["trials"]
    first: dict[float, int] = {}
    for trial in trials:
        rate = trial["options"]["learning_rate"]
        assert trial["same_as"] == first.get(rate)
        first.setdefault(rate, trial["number"])
    assert len(list((tmp_path / "s" / "trials").iterdir())) == len(first) < 4


def test_several_seeds_and_a_database(library: Library, tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path}/study.db"
    options = SearchOptions(trials=1, storage=storage, objective_mix="clean=1")
    wanted = config(library, tmp_path / "s", training={"max_steps": 2}, held_out=40)
    (trial,) = run_search(wanted, read_space(RATES), options, seeds=(3, 4), report=tiny_run.silent)["trials"]
    each = [
        Run.open(tmp_path / "s" / "trials" / "0000" / f"seed-{seed}").metrics["sets"]["clean"]["accuracy"]
        for seed in (3, 4)
    ]
    assert math.isclose(trial["value"], sum(each) / 2)
    assert "seed" not in yaml.safe_load((tmp_path / "s" / "best.yaml").read_text(encoding="utf-8"))
    (name,) = optuna.get_all_study_names(storage)
    assert len(optuna.load_study(study_name=name, storage=storage).trials) == 1


def test_a_trial_that_fails_ends_alone_and_is_said(
    library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rosetune.experiments import trials

    trains = trials.run_all

    def fails_once(runs: Any, report: Any) -> Any:
        if runs[0].training["learning_rate"] == 0.02:
            raise RuntimeError("CUDA out of\nmemory")
        return trains(runs, report)

    monkeypatch.setattr(trials, "run_all", fails_once)
    wanted = config(library, tmp_path / "s", training={"max_steps": 2}, held_out=40)
    said: list[str] = []
    result = run_search(wanted, read_space(RATES), SearchOptions(sampler="grid"), report=said.append)
    assert sorted(trial["state"] for trial in result["trials"]) == ["complete", "fail"]
    assert [t["error"] for t in result["trials"] if t["state"] == "fail"] == ["CUDA out of memory"]
    assert any(line.endswith("failed: CUDA out of memory") for line in said)
    assert result["best"]["options"] == {"learning_rate": 0.0001}


def states(folder: Path, library: Library, options: SearchOptions) -> list[str]:
    """Of the trials of a search over :data:`RATES`, which is made where it is not there."""
    wanted = config(library, folder, training={"max_steps": 2}, held_out=40)
    found = run_search(wanted, read_space(RATES), options, report=tiny_run.silent)
    return [trial["state"] for trial in found["trials"]]


@pytest.mark.parametrize("free", [0, 20_000, 150_000])
def test_a_full_disk_ends_the_search_and_no_trial(library: Library, tmp_path: Path, free: int) -> None:
    with tiny_run.small_disk(tmp_path / "disk", 8) as disk:
        folder, grid = disk / "s", SearchOptions(sampler="grid")
        assert states(folder, library, SearchOptions(sampler="grid", trials=1)) == ["complete"]
        filler = tiny_run.fill_disk(disk, but_for=free)
        for _ in range(2):
            with pytest.raises(FolderError, match=f"no space is left on the disk of {disk}"):
                states(folder, library, grid)
        filler.unlink()
        assert states(folder, library, grid) == ["complete", "complete"]


def test_a_trial_in_a_folder_that_is_held_waits_for_the_next_call(library: Library, tmp_path: Path) -> None:
    folder, grid = tmp_path / "s", SearchOptions(sampler="grid")
    assert states(folder, library, SearchOptions(sampler="grid", trials=1)) == ["complete"]
    with locked(folder / "trials" / "0001" / "seed-1"), pytest.raises(HeldError, match=f"number {os.getpid()}"):
        states(folder, library, grid)
    assert states(folder, library, grid) == ["complete", "complete"]


def test_the_last_trial_is_asked_for_once(library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two workers look at the same time whether a trial is left; each waits for the other before it asks for one."""
    study, both = optuna.create_study(), threading.Barrier(2)
    ask = study.ask

    def slow(distributions: Any) -> Any:
        with suppress(threading.BrokenBarrierError):
            both.wait(timeout=0.5)
        return ask(distributions)

    monkeypatch.setattr(study, "ask", slow)
    space = read_space(RATES)
    spaces = {name: distribution(dimension) for name, dimension in space.items()}
    wanted, one = config(library, tmp_path / "s"), SearchOptions(trials=1)
    with ThreadPoolExecutor(2) as pool:
        workers = [Trials(study, wanted, space, one, (1,), [None], tmp_path / "s", print) for _ in range(2)]
        asked = list(pool.map(lambda worker: worker._asked(spaces), workers))
    assert [trial is None for trial in asked].count(True) == 1
    assert len(study.trials) == 1


def parabola(study: optuna.Study, spaces: Any, until: int) -> list[dict[str, Any]]:
    while len(study.trials) < until:
        trial = study.ask(spaces)
        study.tell(trial, -((trial.params["a"] - 0.3) ** 2) + (trial.params["b"] == "y"))
    return [trial.params for trial in study.trials]


@pytest.mark.parametrize("name", ["tpe", "random", "grid"])
def test_a_sampler_begun_anew_goes_on_with_the_same_draws(name: str) -> None:
    space = read_space(["a=0:1" if name != "grid" else "a=0:1:0.1", "b=x,y"])
    spaces = {option: distribution(dimension) for option, dimension in space.items()}
    points = grid_points(space) if name == "grid" else None

    def made(seed: int = 1) -> Any:
        return make_sampler(name, seed, points)

    whole = parabola(optuna.create_study(direction="maximize", sampler=made()), spaces, 20)
    storage = optuna.storages.InMemoryStorage()
    for until in (3, 12, 13, 20):
        study = optuna.create_study(
            study_name="s", storage=storage, direction="maximize", sampler=made(), load_if_exists=True
        )
        parts = parabola(study, spaces, until)
    assert parts == whole
    assert parabola(optuna.create_study(direction="maximize", sampler=made(2)), spaces, 20) != whole
    if points is not None:
        assert len({repr(point) for point in whole}) == 20  # of 22


def test_a_trial_killed_between_two_draws_gets_the_same_ones() -> None:
    spaces = {name: distribution(d) for name, d in read_space(["a=0:1", "b=0:1"]).items()}
    sampler = SeededSampler(optuna.samplers.RandomSampler, 0)
    whole = optuna.create_study(sampler=sampler).ask(spaces).params
    study = optuna.create_study(sampler=sampler)
    begun = study.ask({"a": spaces["a"]})
    again = optuna.Trial(study, begun._trial_id)
    assert {name: again._suggest(name, its) for name, its in spaces.items()} == whole


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_search_that_is_killed_again_and_again_finds_the_same(tmp_path: Path) -> None:
    assert killed_study.died(killed_search.__file__, tmp_path, kills=3) >= 2  # a life may end before its last event
