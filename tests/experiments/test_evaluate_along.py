"""The checkpoints of a trained run, each evaluated once: what its own weights predict, also where a call is killed."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import tiny_run
from rosetune import cli
from rosetune._numbers import tidy
from rosetune.experiments import along, evaluate, opened
from rosetune.experiments.along import evaluate_along
from rosetune.experiments.train import train_run
from rosetune.robustness.evaluation import predict
from rosetune.runs.along import Followed
from rosetune.runs.run import Run
from rosetune.runs.values import RunError

KEEP = {"save_total_limit": 20}


@pytest.fixture(scope="module", autouse=True)
def _quick() -> Iterator[None]:
    with tiny_run.quick():
        yield


def silent(line: str) -> None:
    pass


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    tiny_run.write_csv(folder / "my.csv")
    tiny_run.write_model(folder / "model")
    train_run(tiny_run.config(folder, "kept", training=KEEP), report=silent)
    train_run(tiny_run.config(folder, "plain", training={"update_mask": "random"}), report=silent)
    return folder


@pytest.fixture
def kept(home: Path, tmp_path: Path) -> Path:
    """A run with checkpoints at steps 2, 4 and 6, which nobody has followed."""
    return Path(shutil.copytree(home / "kept", tmp_path / "kept"))


@pytest.fixture(scope="module")
def whole(home: Path) -> Path:
    """What an undisturbed call makes of it."""
    run = Path(shutil.copytree(home / "kept", home / "whole"))
    evaluate_along(run, "clean,noise", silent)
    return run


class Counted:
    """Predicts, and counts."""

    def __init__(self, fail_after: int = 1000) -> None:
        self.calls, self._fail_after = 0, fail_after

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.calls == self._fail_after:
            raise KeyboardInterrupt
        self.calls += 1
        return predict(*args, **kwargs)


def rows(run: Run, step: int | None) -> dict[str, Any]:
    return {name: run.rows(name, step) for name in run.sets(step) if not name.startswith("attack:")}


def points(run: Run) -> dict[int, tuple[dict[str, Any], dict[str, Any]]]:
    """What is known of each step, and its rows."""
    return {step: (about, rows(run, step)) for step, about in run.steps.items()}


def predicted(folder: Path) -> dict[str, bytes]:
    place = folder / "predictions"
    return {str(path.relative_to(place)): path.read_bytes() for path in place.rglob("*") if path.is_file()}


def accuracies(folder: Path) -> dict[str, Any]:
    """The metrics of a run's sets without those that take more than their rows: a threshold, lengths."""
    sets = tiny_run.metrics(folder)["sets"]
    return {name: {key: m[key] for key in m if key not in ("detection", "lengths")} for name, m in sets.items()}


def forget(folder: Path) -> None:
    for place in (folder / "predictions").glob("step-*"):
        shutil.rmtree(place)


def test_each_checkpoint_is_what_its_weights_predict_and_the_end_is_counted_once(
    kept: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = Counted()
    monkeypatch.setattr(opened, "predict", counted)
    lines: list[str] = []
    run = evaluate_along(kept, "noise,clean", lines.append)
    assert {step: about["end"] for step, about in run.steps.items()} == {2: False, 4: False, 6: True}
    epochs = [about["epoch"] for about in run.steps.values()]
    assert epochs == pytest.approx([2 / 12, 4 / 12, 6 / 12])  # 96 rows in batches of 8
    assert counted.calls == 2 * 3  # two checkpoints on three sets: the third is the model
    assert [line.split(": ")[1] for line in lines] == [
        "checkpoint-2 evaluated (1 of 2)",
        "checkpoint-4 evaluated (2 of 2)",
    ]
    assert rows(run, 6) == rows(run, None)
    # A run of four steps with the same schedule would be another run: the weights themselves tell.
    other = home / "as-model"
    shutil.copytree(kept, other, ignore=shutil.ignore_patterns("checkpoint-*", "predictions", "metrics.json", "model"))
    shutil.copytree(kept / "checkpoint-4", other / "model")
    train_run(tiny_run.config(home, "as-model", training=KEEP), report=silent)  # evaluates, as there is a model
    assert rows(run, 4) == rows(Run.open(other), None)
    assert rows(run, 2) != rows(run, 4)
    assert Followed([run], ("noise",)).metrics(run, 4) == accuracies(other)


def test_what_is_kept_is_not_predicted_again_even_without_checkpoints(
    kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = points(evaluate_along(kept, "clean", silent))
    assert [list(part) for step, (_, part) in first.items() if step != 6] == [["clean"]] * 2
    more = points(evaluate_along(kept, "noise", silent))  # the clean set is always among them
    assert [list(part) for _, part in more.values()] == [["clean", "typos_1", "typos_2"]] * 3
    assert [part["clean"] for _, part in more.values()] == [part["clean"] for _, part in first.values()]
    for checkpoint in kept.glob("checkpoint-*"):
        shutil.rmtree(checkpoint)
    monkeypatch.setattr(opened, "predict", None)
    assert points(evaluate_along(kept, "noise", silent)) == more


@pytest.mark.parametrize("calls", [1, 3, 4])
def test_a_killed_call_goes_on_to_the_same_bytes(
    kept: Path, whole: Path, calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opened, "predict", Counted(fail_after=calls))
    with pytest.raises(KeyboardInterrupt):
        evaluate_along(kept, "clean,noise", silent)
    counted = Counted()
    monkeypatch.setattr(opened, "predict", counted)
    evaluate_along(kept, "clean,noise", silent)
    assert counted.calls == 6 - calls  # whole sets are kept
    assert predicted(kept) == predicted(whole)


def test_killed_before_any_file_of_a_step(kept: Path, whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In whatever order they are written: a step is there in the end."""
    write, stopped = evaluate.write_json, []

    def stop_at(path: Path, value: Any) -> None:
        if (path.parent.name, path.name) not in stopped and path.parent.name.startswith("step-"):
            stopped.append((path.parent.name, path.name))
            raise KeyboardInterrupt
        write(path, value)

    counted = Counted()
    monkeypatch.setattr(opened, "predict", counted)
    for module in (along, evaluate):
        monkeypatch.setattr(module, "write_json", stop_at)
    for _ in range(20):
        try:
            evaluate_along(kept, "clean,noise", silent)
            break
        except KeyboardInterrupt:
            pass
    # The end; and of two steps what they are, what their sets are made of, and both kinds.
    assert len(stopped) == 1 + 2 * 4
    assert counted.calls == 6 + 2  # of each step the set again whose hash was to be written, before its predictions
    assert predicted(kept) == predicted(whole)


def test_an_end_that_no_checkpoint_holds_is_a_point_of_its_own(kept: Path) -> None:
    whole = points(evaluate_along(kept, "clean", silent))
    forget(kept)
    shutil.rmtree(kept / "checkpoint-6")
    assert points(evaluate_along(kept, "clean", silent)) == whole  # at the step where training ended


def test_the_reported_checkpoint_may_be_an_earlier_one(kept: Path) -> None:
    # As validation_from_train leaves it: the model is that of step 4, and the curve goes on after it.
    shutil.rmtree(kept / "model")
    shutil.copytree(kept / "checkpoint-4", kept / "model")
    run = evaluate_along(kept, "clean", silent)
    assert {step: about["end"] for step, about in run.steps.items()} == {2: False, 4: True, 6: False}


def test_errors_say_what_to_do(home: Path, kept: Path, tmp_path: Path) -> None:
    plain = evaluate_along(home / "plain", "clean,noise", silent)
    assert plain.steps == {}
    with pytest.raises(RunError, match="--save_total_limit 20"):
        Followed([plain], ("noise",))
    with pytest.raises(RunError, match=r"there is no folder|metrics\.json"):
        evaluate_along(tmp_path / "none", "clean", silent)
    tiny_run.write_csv(tmp_path / "other.csv", seed=1)
    with pytest.raises(RunError, match=r"not what .* was trained on"):
        evaluate_along(kept, "clean", silent, task=str(tmp_path / "other.csv"))
    forget(kept)
    (kept / "checkpoint-2/trainer_state.json").write_text('{"epoch')
    with pytest.raises(RunError, match="checkpoint-2 is incomplete"):
        evaluate_along(kept, "clean", silent)


class TestTheVerb:
    def call(self, *words: Any) -> None:
        cli.main(["evaluate", *map(str, words), "--along_training", "--sets", "clean,noise"])

    def test_json_holds_every_point(self, kept: Path, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.call(home / "plain", kept, "--json")
        found = json.loads(capsys.readouterr().out)
        plain, own = str(home / "plain"), str(kept)
        assert found["reference"] == own  # the first that keeps checkpoints
        assert [point["step"] for point in found["runs"][own]["curve"]] == [2, 4, 6]
        assert found["runs"][plain]["curve"] == []
        assert found["runs"][plain]["end"]["sets"] == tidy(accuracies(home / "plain"))
        assert list(found["at_equal_clean"]) == ["typos_1", "typos_2"]
        equal = found["at_equal_clean"]["typos_1"]
        assert list(equal) == [plain]
        assert equal[plain]["nearest"] in (2, 4, 6)
        assert equal[plain]["robust"] == tidy(tiny_run.metrics(home / "plain")["sets"]["typos_1"]["accuracy"])

    def test_tables_and_figure(
        self, kept: Path, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        pytest.importorskip("matplotlib")
        self.call(kept, home / "plain", "--figure", tmp_path / "curve.svg")
        out, err = capsys.readouterr()
        assert out.startswith(f"vanilla: {kept}\n")  # whole, so that it can be copied
        assert "typing errors 2 at equal clean accuracy" in out
        assert "checkpoint-4 evaluated (2 of 2)" in err
        assert (tmp_path / "curve.svg").read_bytes().startswith(b"<?xml")
        self.call(kept)
        assert "at equal clean accuracy" not in capsys.readouterr().out  # there is nothing to compare

    def test_a_figure_that_cannot_be_drawn_is_refused_before_any_work(
        self, kept: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(opened, "predict", None)
        with pytest.raises(SystemExit, match="2"):
            self.call(kept, "--figure", "curve.jpg")
        assert "name a file that ends in .svg, .png or .pdf" in capsys.readouterr().err
        assert not list((kept / "predictions").glob("step-*"))
