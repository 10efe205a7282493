"""The main job on a tiny model: three arms, one table, nothing twice."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import tiny_run
from rosetune import cli
from rosetune.data.tables import DataError
from rosetune.experiments import demo
from rosetune.experiments.demo import Arm, print_demo, run_demo

ARMS = ("vanilla", "rose-ensemble", "static-mask")


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


def run(home: Path, lines: list[str], **options: Any) -> list[Arm]:
    values = {"task": str(home / "my.csv"), "model_name_or_path": str(home / "model"), "samples": 128, "seed": 1}
    return run_demo(**{**values, "output_dir": str(home / "demo"), **options}, report=lines.append)


@pytest.fixture(scope="module")
def arms(home: Path) -> list[Arm]:
    return run(home, [])


def test_three_arms_on_the_same_data_and_seed(arms: list[Arm], home: Path) -> None:
    assert [arm.title for arm in arms] == ["vanilla AdamW", "ROSE-Ensemble", "static mask"]
    identities = [json.loads((home / "demo/my" / name / "run.json").read_text()) for name in ARMS]
    masks = [identity["training"].pop("update_mask", None) for identity in identities]
    kwargs = [identity["training"].pop("update_mask_kwargs", {}) for identity in identities]
    assert masks == [None, "rose", "static"]
    assert identities[0] == identities[1] == identities[2]
    assert kwargs[1]["order"] == "ensemble"
    assert kwargs[2]["trace"].startswith("sha256:")  # the one of the second arm, wherever it lies
    assert (home / "demo/my/rose-ensemble/mask_trace.npz").is_file()
    assert all(list(arm.predictions) == ["clean", "typos_1", "typos_2"] for arm in arms)
    assert all(arm.step_seconds is not None for arm in arms)


def test_a_second_call_trains_nothing(arms: list[Arm], home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rosetune.experiments import evaluate
    from rosetune.experiments import train as runs

    monkeypatch.setattr(runs, "Training", None)
    monkeypatch.setattr(evaluate, "predict", None)
    lines: list[str] = []
    assert run(home, lines) == arms
    assert sum(line.endswith("nothing to do") for line in lines) == 3


def test_a_moved_demo_is_the_same_demo(arms: list[Arm], home: Path) -> None:
    (home / "demo").rename(home / "moved")
    try:
        lines: list[str] = []
        assert run(home, lines, output_dir=str(home / "moved")) == arms
        assert sum(line.endswith("nothing to do") for line in lines) == 3
    finally:
        (home / "moved").rename(home / "demo")


def printed(arms: list[Arm], width: int) -> str:
    file = io.StringIO()
    print_demo(arms, "my.csv", Console(file=file, width=width, highlight=False))
    return file.getvalue()


@pytest.mark.parametrize("width", [80, 100])
def test_the_table_fits_and_says_everything(arms: list[Arm], width: int) -> None:
    text = printed(arms, width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    rows = {line.strip().split("  ")[0]: line for line in text.splitlines()}
    assert {
        "vanilla AdamW",
        "ROSE-Ensemble",
        "static mask",
        "constant",
        "ROSE - vanilla",
        "ROSE - static",
    } <= rows.keys()
    assert "1.00 x" in rows["vanilla AdamW"]
    assert rows["ROSE-Ensemble"].rstrip().endswith(" x")
    accuracy = 100 * arms[1].metrics["sets"]["clean"]["accuracy"]
    assert f"{accuracy:.1f}" in rows["ROSE-Ensemble"]
    assert "(n = 24)" in text
    assert "One seed" in text


def rows(right: list[bool], name: str = "clean") -> list[dict[str, Any]]:
    said = {True: {"prediction": "good", "logits": [0.0, 1.0]}, False: {"prediction": "bad", "logits": [1.0, 0.0]}}
    return [{"set": name, "id": str(i), "gold": "good", **said[ok]} for i, ok in enumerate(right)]


def arm(title: str, right: int, of: int = 400, sets: tuple[str, ...] = ("clean",)) -> Arm:
    part = {"accuracy": right / of, "low": 0.1, "high": 0.9, "constant": {"accuracy": 0.5}}
    predictions = {name: rows([i < right for i in range(of)], name) for name in sets}
    return Arm(title, {"sets": dict.fromkeys(sets, part)}, predictions, 0.5)


def test_noise_is_called_noise_and_a_difference_a_difference() -> None:
    text = printed([arm("vanilla AdamW", 300), arm("ROSE-Ensemble", 301), arm("static mask", 200)], 100)
    first, second = text.split("ROSE-Ensemble against static mask")
    assert "p = 1.000: within the noise" in first
    assert "is better" not in first
    assert "p < 0.001: ROSE-Ensemble is better" in second
    text = printed([arm("vanilla AdamW", 300), arm("ROSE-Ensemble", 200), arm("static mask", 200)], 100)
    assert "ROSE-Ensemble is worse" in text


def test_six_sets_fit_80_columns_without_losing_a_number() -> None:
    sets = ("clean", "clean_mismatched", "typos_1", "typos_2", "advglue", "advglue_mismatched")
    text = printed([arm(title, 300, sets=sets) for title in ("vanilla AdamW", "ROSE-Ensemble", "static mask")], 80)
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    assert text.count("75.0") == 3 * len(sets)


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
def test_advglue_only_where_it_covers_the_task(
    task: str, data_dir: str | None, adversarial: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    configs = []

    def stop(config: Any, report: Any) -> None:
        configs.append(config)
        raise DataError("far enough")

    monkeypatch.setattr(demo, "train_run", stop)
    with pytest.raises(DataError):
        run_demo(task=task, data_dir=data_dir, report=lambda line: None)
    assert ("advglue" in configs[0].sets) is adversarial
    assert Path(configs[0].output_dir or "").parent.parent == Path("runs/demo")


def test_the_verb(arms: list[Arm], home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["demo", "--task", home / "my.csv", "--model-name-or-path", home / "model", "--output_dir", home / "demo"]
    cli.main([str(word) for word in [*words, "--max_train_samples", 128, "--seed", 1]])
    out = capsys.readouterr().out
    assert "[3/3] static mask" in out
    assert "ROSE - vanilla" in out
