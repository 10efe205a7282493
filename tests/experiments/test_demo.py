"""The main job on a tiny model: five runs, one table, nothing twice."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import tiny_run
from rosetune import cli
from rosetune.experiments import opened
from rosetune.experiments import train as train_module
from rosetune.experiments.demo import TITLES, demo_plan, run_demo
from rosetune.runs.normalized import normalized_baseline
from rosetune.runs.run import Run

FOLDERS = ("vanilla", "normalized", "noise", "rose-ensemble", "static-mask")


@pytest.fixture(scope="module", autouse=True)
def _quick() -> Iterator[None]:
    with tiny_run.quick():
        yield


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    tiny_run.write_csv(folder / "my.csv", rows=240)
    tiny_run.write_model(folder / "model")
    return folder


def run(home: Path, lines: list[str], folder: str = "demo") -> dict[str, Run]:
    options = {"task": str(home / "my.csv"), "model_name_or_path": str(home / "model"), "samples": 128, "seed": 1}
    return run_demo(lines.append, **options, output_dir=str(home / folder))


def contents(runs: dict[str, Run]) -> dict[str, dict[str, bytes]]:
    return {
        title: {
            str(path.relative_to(run.folder)): path.read_bytes() for path in run.folder.rglob("*") if path.is_file()
        }
        for title, run in runs.items()
    }


@pytest.fixture(scope="module")
def runs(home: Path) -> dict[str, Run]:
    return run(home, [])


def test_five_runs_on_the_same_data_and_seed(runs: dict[str, Run], home: Path) -> None:
    titles = ["vanilla AdamW", "normalised texts", "noise training", "ROSE-Ensemble", "static mask"]
    assert list(runs) == list(TITLES.values()) == titles
    assert [run.folder for run in runs.values()] == [home / "demo/my" / name for name in FOLDERS]
    identities = [json.loads((run.folder / "run.json").read_text()) for run in runs.values() if not run.config.given]
    own = ("augmentation", "augmentation_kwargs", "update_mask", "update_mask_kwargs")
    changed, noisy, masks, kwargs = ([identity["training"].pop(name, None) for identity in identities] for name in own)
    assert changed == [None, "noise", None, None]
    assert (noisy[1]["noises"], noisy[1]["p"]) == (["typing", "leetspeak"], 0.5)
    assert masks == [None, None, "rose", "static"]
    assert all(identity == identities[0] for identity in identities)  # the same steps on the same sentences
    assert kwargs[2]["order"] == "ensemble"
    assert kwargs[3]["trace"].startswith("sha256:")  # the one of the third run, wherever it lies
    assert runs["ROSE-Ensemble"].trace_file is not None
    assert all(run.sets() == ["clean", "typos_1", "typos_2", "homoglyphs@0.5"] for run in runs.values())
    assert all(run.timing["median_step_seconds"] > 0 for run in runs.values() if not run.config.given)


def test_behind_the_normalisation_the_plain_model_reads_homoglyphs_as_if_there_were_none(runs: dict[str, Run]) -> None:
    plain, normal = runs["vanilla AdamW"], runs["normalised texts"]
    assert normalized_baseline(normal, [plain]) is not None
    logits = {name: [row["logits"] for row in normal.rows(name)] for name in normal.sets()}
    assert logits["homoglyphs@0.5"] == logits["clean"] == [row["logits"] for row in plain.rows("clean")]
    assert logits["clean"] != [row["logits"] for row in plain.rows("homoglyphs@0.5")]


def test_a_second_call_trains_nothing(runs: dict[str, Run], home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_module, "Training", None)
    monkeypatch.setattr(opened, "predict", None)
    before, lines = contents(runs), []
    assert contents(run(home, lines)) == before
    assert sum(line.endswith("nothing to do") for line in lines) == 4


def test_a_moved_demo_is_the_same_demo(runs: dict[str, Run], home: Path) -> None:
    before, lines = contents(runs), []
    (home / "demo").rename(home / "moved")
    try:
        assert contents(run(home, lines, "moved")) == before
        assert sum(line.endswith("nothing to do") for line in lines) == 4
    finally:
        (home / "moved").rename(home / "demo")


@pytest.mark.parametrize(
    ("task", "data_dir", "adversarial"),
    [
        ("my.csv", "data", False),
        ("cola", "data", False),
        ("sst2", None, False),
        ("SST-2", "data", True),
        ("demo", "data", True),
    ],
)
def test_advglue_only_where_it_covers_the_task(task: str, data_dir: str | None, adversarial: bool) -> None:
    plan = demo_plan(task=task, data_dir=data_dir)
    assert list(plan) == list(FOLDERS)
    for name, config in plan.items():
        assert config.sets == ("clean", "noise", "noise_curve", *(("advglue",) if adversarial else ()))
        folder = Path(config.output_dir or "")
        assert (folder.parent.parent, folder.name) == (Path("runs/demo"), name)


def test_the_verb(runs: dict[str, Run], home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["demo", "--task", home / "my.csv", "--model-name-or-path", home / "model", "--output_dir", home / "demo"]
    cli.main([str(word) for word in [*words, "--max_train_samples", 128, "--seed", 1]])
    out = capsys.readouterr().out
    assert "[3/5] noise training" in out
    assert "[5/5] static mask" in out
    assert {"normalised - vanilla", "noise - vanilla", "ROSE - vanilla"} <= {
        line.strip().split("  ")[0] for line in out.splitlines()
    }
    for title in TITLES.values():
        assert f"{100 * runs[title].metrics['sets']['clean']['accuracy']:.1f}" in out
