"""Figure 3: the data of each part, its plan, and what the runs say."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from command_line import one_line
from rosetune.analysis.probing.generator import generate_probe
from rosetune.analysis.probing.scoring import PARTS, Preference
from rosetune.experiments.plan_reader import parse_plan
from rosetune.experiments.planned import planned_runs
from rosetune.experiments.probe import preferences, probe_tasks, write_probe
from rosetune.experiments.reproduce import filled_plan, reproduction
from rosetune.experiments.train import train_run
from rosetune.report.probe_figure import draw_probes, probe_grid, read_probes, write_probes
from rosetune.runs.run import Run, find_runs
from rosetune.runs.values import RunError

PROBES = {
    "the": {
        "vanilla": {1: Preference(-0.5, 0.9, 1.0), 2: Preference(0.1, 0.2, 1.0)},
        "rose": {1: Preference(0.3, 1.0, 1.0)},
    }
}


def rows(path: str | Path) -> list[tuple[str, int]]:
    with open(path, encoding="utf-8", newline="") as file:
        return [(row["sentence"], int(row["label"])) for row in csv.DictReader(file)]


def write_msgs(home: Path) -> Path:
    """A probe of our own in the files of MSGS, of "the" alone."""
    probe = generate_probe("the", 4, seed=7)
    fields = ("sentence", "linguistic_feature_label", "surface_feature_label")
    for folder, part, labels in (
        ("control_raising_lexical_content_the", probe.ambiguous, lambda y, train: (y, y if train else 1 - y)),
        ("control_raising_control", probe.linguistic, lambda y, train: (y, None)),
        ("lexical_content_the_control", probe.surface, lambda y, train: (None, y)),
    ):
        (home / folder).mkdir(parents=True)
        for name, kept in zip(("train", "test"), part, strict=True):
            lines = [dict(zip(fields, (s, *labels(y, name == "train")), strict=True)) for s, y in kept]
            text = "".join(json.dumps(line) + "\n" for line in lines)
            (home / folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
    return home


def test_each_part_has_its_files(tmp_path: Path) -> None:
    probe = generate_probe("the", 6)
    files = write_probe(probe, tmp_path, "the")
    assert [*files] == [*PARTS]
    for part, paths in files.items():
        assert [rows(path) for path in paths] == [[*kept] for kept in getattr(probe, part)]


def test_the_folder_says_what_is_in_it(tmp_path: Path) -> None:
    """The same sentences are the same task, others are another one."""
    first = json.loads(probe_tasks(tmp_path, ["the", "length"], 3))
    assert [*first] == [f"{name}-{part}" for name in ("the", "length") for part in PARTS]
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.csv")}
    assert json.loads(probe_tasks(tmp_path, ["the", "length"], 3)) == first
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.csv")} == before
    assert json.loads(probe_tasks(tmp_path, ["the"], 4))["the-surface"] != first["the-surface"]


def test_msgs_own_files(tmp_path: Path) -> None:
    folder = write_msgs(tmp_path / "msgs")
    plan = reproduction("figure3", "smoke", tasks=["the"], data_dir=str(folder), output_dir=str(tmp_path / "out"))
    assert [*plan.tasks] == [f"the-{part}" for part in PARTS]
    assert "data_dir" not in plan.options
    own = generate_probe("the", 4, seed=7)
    for part in PARTS:
        options = plan.tasks[f"the-{part}"].options
        expected = [[*kept] for kept in getattr(own, part)]
        assert [rows(options[name]) for name in ("task", "validation_file")] == expected
    with pytest.raises(RunError, match=r"cannot read .*control_raising_length.*unpack MSGS's data there"):
        reproduction("figure3", "smoke", data_dir=str(folder), output_dir=str(tmp_path / "out"))


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


def test_only_seeds_whose_controls_are_learnt_count() -> None:
    vanilla, rose = probe_grid(PROBES).rows
    assert vanilla == ("vanilla, against the", "-0.50", "1 of 2", "0.55", "1.00")
    assert rose == ("rose, against the", "0.30", "1 of 1", "1.00", "1.00")
    alone = {"the": {"vanilla": {2: PROBES["the"]["vanilla"][2]}}}
    assert probe_grid(alone).rows[0] == ("vanilla, against the", "-", "0 of 1", "0.20", "1.00")


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
    for part, score in zip(PARTS, seen, strict=True):
        assert score == pytest.approx(done[f"the-{part}"].metrics["sets"]["clean"]["mcc"])


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
        seen = found["the"][run.method][1]
        score = getattr(seen, "score" if "ambiguous" in run.task else run.task.split("-")[1])
        assert score == pytest.approx(run.metrics["sets"]["clean"]["mcc"])
    monkeypatch.setattr("rosetune.experiments.executors.LocalExecutor.start", None)
    before = Path("out/probe.json").read_text()
    Path("out/probe.json").unlink()
    code, _, err = rosetune(*words)
    assert code == 0, err
    assert Path("out/probe.json").read_text() == before
