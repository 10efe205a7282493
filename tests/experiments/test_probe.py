"""Figure 3: the data of each part, its plan, and what the runs say."""

import csv
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import pytest
import yaml
from sklearn.metrics import matthews_corrcoef

from command_line import one_line
from made_runs import outcomes, write_run
from rosetune.analysis.probing.generator import generate_probe
from rosetune.analysis.probing.scoring import PARTS, Preference
from rosetune.experiments.expansion import planned_runs
from rosetune.experiments.plan_reader import parse_plan
from rosetune.experiments.probe import MSGS_NAMES, _scores, preferences, probe_tasks, write_probe
from rosetune.experiments.reproduce import filled_plan, reproduction
from rosetune.experiments.train import train_run
from rosetune.report.probe_figure import draw_probes, probe_grid, read_probes, write_probes
from rosetune.runs.run import Run, find_runs
from rosetune.runs.values import RunError

PROBES = {
    "the": {
        "vanilla": {1: Preference(-0.5, 0.9, 1.0, 0.8), 2: Preference(0.1, 0.2, 1.0, 0.9)},
        "rose": {1: Preference(0.3, 1.0, 1.0, 1.0), 2: Preference(0.0, 1.0, 1.0, 0.0)},
    }
}


def rows(path: str | Path) -> list[tuple[str, int]]:
    with open(path, encoding="utf-8", newline="") as file:
        return [(row["sentence"], int(row["label"])) for row in csv.DictReader(file)]


def write_msgs(home: Path, *names: Literal["the", "length"]) -> Path:
    """Probes of our own in the files of MSGS, with the linguistic control of the first of them."""
    for name in names:
        probe = generate_probe(name, 4, seed=7)
        surface = MSGS_NAMES[name]
        for folder, part, labels in (
            (f"control_raising_{surface}", probe.ambiguous, lambda y, train: (y, y if train else 1 - y)),
            ("control_raising_control", probe.linguistic, lambda y, train: (y, None)),
            (f"{surface}_control", probe.surface, lambda y, train: (None, y)),
        ):
            if not (home / folder).is_dir():
                for split, kept in zip(("train", "test"), part, strict=True):
                    labelled = [(s, *labels(y, split == "train")) for s, y in kept]
                    _write_lines(home / folder / f"{split}.jsonl", labelled)
        mixed = home / f"control_raising_{surface}" / "test.jsonl"
        _write_lines(mixed, [(s, y, y) for s, y in probe.agreeing])
    return home


def _write_lines(path: Path, added: list[tuple[Any, ...]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fields = ("sentence", "linguistic_feature_label", "surface_feature_label")
    with open(path, "a", encoding="utf-8") as file:
        file.writelines(json.dumps(dict(zip(fields, row, strict=True))) + "\n" for row in added)


def test_each_part_has_its_files(tmp_path: Path) -> None:
    probe = generate_probe("the", 6)
    files = write_probe(probe, tmp_path, "the")
    assert [*files] == [*PARTS]
    for part, paths in files.items():
        train, test = (rows(path) for path in paths)
        further = [*probe.agreeing] if part == "ambiguous" else []
        assert (train, test) == ([*getattr(probe, part).train], [*getattr(probe, part).test, *further])
    with open(files["ambiguous"][1], encoding="utf-8", newline="") as file:
        features = [row["features"] for row in csv.DictReader(file)]
    assert features == ["differ"] * 12 + ["agree"] * 12


def test_the_folder_says_what_is_in_it(tmp_path: Path) -> None:
    """The same sentences are the same task, others are another one."""
    first = json.loads(probe_tasks(tmp_path, ["the", "length"], 3))
    assert [*first] == [f"{name}-{part}" for name in ("the", "length") for part in PARTS]
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.csv")}
    assert json.loads(probe_tasks(tmp_path, ["the", "length"], 3)) == first
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.csv")} == before
    assert json.loads(probe_tasks(tmp_path, ["the"], 4))["the-surface"] != first["the-surface"]


def test_msgs_own_files(tmp_path: Path) -> None:
    folder = write_msgs(tmp_path / "msgs", "the")
    plan = reproduction("figure3", "smoke", tasks=["the"], data_dir=str(folder), output_dir=str(tmp_path / "out"))
    assert [*plan.tasks] == [f"the-{part}" for part in PARTS]
    assert "data_dir" not in plan.options
    own = generate_probe("the", 4, seed=7)
    for part in PARTS:
        options = plan.tasks[f"the-{part}"].options
        expected = [[*kept] for kept in getattr(own, part)]
        expected[1] += own.agreeing if part == "ambiguous" else []
        assert [rows(options[name]) for name in ("task", "validation_file")] == expected
    with pytest.raises(RunError, match=r"cannot read .*control_raising_length.*unpack MSGS's data there"):
        reproduction("figure3", "smoke", data_dir=str(folder), output_dir=str(tmp_path / "out"))


def test_what_probes_share_is_trained_once(tmp_path: Path) -> None:
    """MSGS has one linguistic control; those of the generator have other sentences."""
    folder = str(write_msgs(tmp_path / "msgs", "the", "length"))
    plan = reproduction("figure3", "smoke", data_dir=folder, output_dir=str(tmp_path / "out"))
    assert {*plan.tasks} == {"the-ambiguous", "the-surface", "length-ambiguous", "length-surface", "linguistic"}
    expected = [*generate_probe("the", 4, seed=7).linguistic.train]
    assert rows(plan.tasks["linguistic"].options["task"]) == expected
    own = reproduction("figure3", "smoke", output_dir=str(tmp_path / "out"))
    assert {*own.tasks} == {f"{name}-{part}" for name in ("the", "length") for part in PARTS}


def test_a_shared_control_counts_for_every_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = {
        "the-ambiguous": {"ambiguous": -0.5, "agree": 0.9},
        "the-surface": {"surface": 1.0},
        "length-ambiguous": {"ambiguous": 0.25, "agree": 0.8},
        "length-surface": {"surface": 0.75},
        "linguistic": {"linguistic": 0.95},
    }
    runs: list[Any] = [
        SimpleNamespace(
            **{"task": task, "model": "m", "method": "vanilla", "point": {}, "config": SimpleNamespace(seed=3)},
            **{"is_done": lambda: True, "folder": lambda task=task: task},
        )
        for task in scores
    ]
    monkeypatch.setattr("rosetune.experiments.probe.Run.open", lambda folder: folder)
    monkeypatch.setattr("rosetune.experiments.probe._scores", lambda run, part: scores[run])
    found, left = preferences(runs)
    assert left == []
    assert found == {
        "the": {"vanilla": {3: Preference(-0.5, 0.95, 1.0, 0.9)}},
        "length": {"vanilla": {3: Preference(0.25, 0.95, 0.75, 0.8)}},
    }


def test_the_plan_that_is_shown_is_one_for_sweep(tmp_path: Path) -> None:
    text = filled_plan("figure3", "smoke", tasks=["length"], output_dir=str(tmp_path))
    assert [*parse_plan(text).tasks] == [f"length-{part}" for part in PARTS]
    task = f"length-{PARTS[0]}"
    missing = {**yaml.safe_load(text)}
    missing["tasks"] = {task: missing["tasks"][task]}
    with pytest.raises(RunError, match="the probe length has no task length-linguistic"):
        parse_plan(yaml.safe_dump(missing))


def test_what_is_refused(rosetune: Any, tmp_path: Path) -> None:
    words = ("reproduce", "figure3", "--scale", "smoke", "--output_dir", tmp_path)
    one_line(rosetune(*words, "--tasks", "colour"), "there is no probe 'colour'")
    one_line(rosetune(*words, "--data_dir", tmp_path / "none"), "unpack MSGS's data there")
    assert [*tmp_path.iterdir()] == []


def test_the_figure_is_drawn_again_from_its_data(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    write_probes(PROBES, tmp_path / "probe.json")
    assert read_probes(tmp_path / "probe.json") == PROBES
    draw_probes(PROBES, tmp_path / "a.svg")
    draw_probes(read_probes(tmp_path / "probe.json"), tmp_path / "b.svg")
    text = (tmp_path / "a.svg").read_text()
    assert text == (tmp_path / "b.svg").read_text()
    assert "syntax against the" in text
    (tmp_path / "other.json").write_text("[1]")
    with pytest.raises(RunError, match="holds no probes"):
        read_probes(tmp_path / "other.json")


def test_only_seeds_count_whose_own_task_and_controls_are_learnt() -> None:
    vanilla, rose = probe_grid(PROBES).rows
    assert vanilla == ("vanilla, against the", "-0.50", "1 of 2", "0.85", "0.55", "1.00")
    assert rose == ("rose, against the", "0.30", "1 of 2", "0.50", "1.00", "1.00")
    alone = {"the": {"vanilla": {2: PROBES["the"]["vanilla"][2]}}}
    assert probe_grid(alone).rows[0] == ("vanilla, against the", "-", "0 of 1", "0.90", "0.20", "1.00")


def test_correlations_are_those_of_the_runs(library: Any, tmp_path: Path) -> None:
    plan = reproduction("figure3", "smoke", model=str(library.home / "model"), tasks=["the"], output_dir=str(tmp_path))
    runs = planned_runs(plan)
    for run in runs:
        if run.method == "vanilla":
            config, _ = run.now()
            config.training["disable_tqdm"] = True
            train_run(config, lambda line: None)
    found, left = preferences(runs)
    (seen,) = found["the"]["vanilla"].values()
    assert left == ["rose-ensemble, seed 1, against the: no run of the part ambiguous, linguistic, surface"]
    done = {run.task: Run.open(run.folder()) for run in runs if run.method == "vanilla"}
    for part in PARTS[1:]:
        score = done[f"the-{part}"].metrics["sets"]["clean"]["mcc"]
        assert getattr(seen, part) == pytest.approx(score)
    predicted = [(int(row["gold"]), int(row["prediction"])) for row in done["the-ambiguous"].rows("clean")]
    # The first half are the rows in which the features differ.
    assert [seen.score, seen.agreeing] == pytest.approx(
        [matthews_corrcoef(*zip(*half, strict=True)) for half in (predicted[:8], predicted[8:])]
    )
    # Two steps at 1e-4 have taught it nothing: that is no preference, whatever the controls have learnt.
    assert not seen._replace(linguistic=1.0, surface=1.0).readable


def test_a_test_that_does_not_tell_where_the_features_agree(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", {"clean": outcomes(3, 1)})
    with pytest.raises(RunError, match="does not tell in which test rows both features agree: give its validation"):
        _scores(run, "ambiguous")


@pytest.mark.slow
def test_figure_3_from_nothing(library: Any, tmp_path: Path, rosetune: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Six runs of two steps; a correlation is that of the run's own metrics. Again: nothing is trained."""
    monkeypatch.chdir(tmp_path)
    words = ("reproduce", "figure3", "--scale", "smoke", "--model_name_or_path", library.home / "model")
    words += ("--tasks", "the", "--output_dir", "out")
    code, out, err = rosetune(*words)
    assert code == 0, err
    assert "Figure 3, smoke leaves out:" in out
    found = read_probes("out/probe.json")
    assert [*found] == ["the"]
    assert [*found["the"]] == ["vanilla", "rose-ensemble"]
    runs = find_runs(["out/**"])
    assert len(runs) == 6
    for run in runs:
        seen, part = found["the"][run.method][1], run.task.split("-")[1]
        if part != "ambiguous":
            assert getattr(seen, part) == pytest.approx(run.metrics["sets"]["clean"]["mcc"])
    monkeypatch.setattr("rosetune.experiments.executors.LocalExecutor.start", None)
    before = Path("out/probe.json").read_text()
    Path("out/probe.json").unlink()
    code, _, err = rosetune(*words)
    assert code == 0, err
    assert Path("out/probe.json").read_text() == before
