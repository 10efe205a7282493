"""Robust against clean accuracy over training: every checkpoint once, and what is said at equal clean accuracy."""

import io
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from rosetune.experiments.along_report import print_along
from rosetune.experiments.along_training import Point, evaluate_along
from rosetune.experiments.config import RunError
from rosetune.experiments.equal_clean import Followed, at_equal_clean, follow

import tiny_run
from rosetune._files import read_json_lines
from rosetune.experiments import along_report, along_training, curve, equal_clean
from rosetune.experiments.evaluate import read_predictions
from rosetune.experiments.train import train_run
from rosetune.robustness.evaluation import predict

KEEP = {"save_total_limit": 20}
LABELS = ("bad", "good")


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


class Counted:
    """Predicts, and counts."""

    def __init__(self, fail_after: int = 1000) -> None:
        self.calls, self._fail_after = 0, fail_after

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.calls == self._fail_after:
            raise KeyboardInterrupt
        self.calls += 1
        return predict(*args, **kwargs)


# --- checkpoints --------------------------------------------------------------------------------------------------


def test_each_checkpoint_is_what_its_weights_predict_and_the_end_is_counted_once(
    kept: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = Counted()
    monkeypatch.setattr(along_training, "predict", counted)
    lines: list[str] = []
    points = evaluate_along(kept, "noise,clean", lines.append)
    assert [(point.step, point.end) for point in points] == [(2, False), (4, False), (6, True)]
    assert [point.epoch for point in points] == pytest.approx([2 / 12, 4 / 12, 6 / 12])  # 96 rows in batches of 8
    assert counted.calls == 2 * 3  # two checkpoints on three sets: the third is the model
    assert [line.split(": ")[1] for line in lines] == [
        "checkpoint-2 evaluated (1 of 2)",
        "checkpoint-4 evaluated (2 of 2)",
    ]
    assert points[-1].rows == read_predictions(kept)
    # A run of four steps with the same schedule would be another run: the weights themselves tell.
    other = home / "as-model"
    shutil.copytree(kept, other, ignore=shutil.ignore_patterns("checkpoint-*", "*.jsonl", "metrics.json", "model"))
    shutil.copytree(kept / "checkpoint-4", other / "model")
    train_run(tiny_run.config(home, "as-model", training=KEEP), report=silent)  # evaluates, as there is a model
    assert points[1].rows == read_predictions(other)
    assert points[1].metrics == tiny_run.metrics(other)["sets"]
    assert points[0].rows != points[1].rows


def test_what_is_kept_is_not_predicted_again_even_without_checkpoints(
    kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = evaluate_along(kept, "clean", silent)
    assert {row["set"] for row in read_json_lines(kept / "along_training.jsonl")} == {"clean"}
    more = evaluate_along(kept, "noise", silent)  # the clean set is always among them
    assert [list(point.rows) for point in more] == [["clean", "typos_1", "typos_2"]] * 3
    assert [point.rows["clean"] for point in more] == [point.rows["clean"] for point in points]
    for checkpoint in kept.glob("checkpoint-*"):
        shutil.rmtree(checkpoint)
    monkeypatch.setattr(along_training, "predict", None)
    assert evaluate_along(kept, "noise", silent) == more


@pytest.mark.parametrize("calls", [1, 3, 4])
def test_a_killed_call_goes_on_to_the_same_bytes(
    kept: Path, tmp_path: Path, calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Path(shutil.copytree(kept, tmp_path / "whole"))
    evaluate_along(whole, "clean,noise", silent)
    monkeypatch.setattr(along_training, "predict", Counted(fail_after=calls))
    with pytest.raises(KeyboardInterrupt):
        evaluate_along(kept, "clean,noise", silent)
    counted = Counted()
    monkeypatch.setattr(along_training, "predict", counted)
    evaluate_along(kept, "clean,noise", silent)
    assert counted.calls == 6 - calls // 3 * 3  # whole checkpoints are kept
    assert (kept / "along_training.jsonl").read_bytes() == (whole / "along_training.jsonl").read_bytes()


def test_an_end_that_no_checkpoint_holds_is_a_point_of_its_own(kept: Path) -> None:
    whole = evaluate_along(kept, "clean", silent)
    (kept / "along_training.jsonl").unlink()
    shutil.rmtree(kept / "checkpoint-6")
    assert evaluate_along(kept, "clean", silent) == whole  # at the step where training ended


def test_the_reported_checkpoint_may_be_an_earlier_one(kept: Path) -> None:
    # As validation_from_train leaves it: the model is that of step 4, and the curve goes on after it.
    shutil.rmtree(kept / "model")
    shutil.copytree(kept / "checkpoint-4", kept / "model")
    points = evaluate_along(kept, "clean", silent)
    assert [(point.step, point.end) for point in points] == [(2, False), (4, True), (6, False)]


def test_errors_say_what_to_do(home: Path, kept: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="--save_total_limit 20"):
        evaluate_along(home / "plain", "clean", silent)
    with pytest.raises(RunError, match="--save_total_limit 20"):
        follow([str(home / "plain")], "clean,noise", silent)
    with pytest.raises(RunError, match="--sets clean,advglue"):
        follow([str(kept)], "clean", silent)
    with pytest.raises(RunError, match=r"metrics\.json"):
        follow([str(kept), str(tmp_path)], "clean,noise", silent)
    tiny_run.write_csv(tmp_path / "other.csv", seed=1)
    with pytest.raises(RunError, match=r"not what .* was trained on"):
        evaluate_along(kept, "clean", silent, task=str(tmp_path / "other.csv"))
    train_run(tiny_run.config(home, str(tmp_path / "other"), task=str(tmp_path / "other.csv")), report=silent)
    with pytest.raises(RunError, match="the same examples"):
        follow([str(kept), str(tmp_path / "other")], "clean,noise", silent)
    (kept / "checkpoint-2/trainer_state.json").write_text('{"epoch')
    (kept / "along_training.jsonl").unlink(missing_ok=True)
    with pytest.raises(RunError, match="checkpoint-2 is incomplete"):
        evaluate_along(kept, "clean", silent)


# --- at equal clean accuracy --------------------------------------------------------------------------------------


def rows(right: int, of: int, name: str) -> list[dict[str, Any]]:
    said = {True: {"prediction": "good", "logits": [0.0, 1.0]}, False: {"prediction": "bad", "logits": [1.0, 0.0]}}
    return [{"set": name, "id": str(i), "gold": "good", **said[i < right]} for i in range(of)]


def point(step: int | None, clean: int, robust: int, end: bool = False) -> Point:
    """Clean accuracy of so many percent, robust accuracy of so many percent."""
    sets = {"clean": rows(clean * 10, 1000, "clean"), "advglue": rows(robust, 100, "advglue")}
    metrics = {
        name: {"n": len(part), "accuracy": share / 100, "low": share / 100 - 0.05, "high": share / 100 + 0.05}
        | {"constant": {"label": "good", "accuracy": 0.55}}
        for (name, part), share in zip(sets.items(), (clean, robust), strict=True)
    }
    return Point(step, None if step is None else step / 100, end, sets, metrics)


CURVE = [point(10, 70, 50), point(20, 80, 40), point(30, 90, 30), point(40, 86, 34, end=True)]


def test_passages_and_the_nearest_checkpoint_by_hand() -> None:
    found = at_equal_clean(CURVE, point(None, 88, 37), "advglue")
    # 80 -> 90 passes 88 at 4/5 of the way; 90 -> 86 at half of it.
    assert [(p.step, p.robust) for p in found.passages] == [pytest.approx((28, 0.32)), pytest.approx((35, 0.32))]
    assert (found.clean, found.robust) == (0.88, 0.37)
    assert found.nearest.step == 30  # as near as step 40, and earlier
    assert found.clean_difference.difference == pytest.approx(-0.02)
    assert found.robust_difference.difference == pytest.approx(0.07)
    assert (found.robust_difference.only_a, found.robust_difference.only_b) == (0, 7)
    assert found.flipped == pytest.approx(0.34)  # no clean accuracy is lost, none is flipped
    # Early stopping is the first passage, a claim must beat the highest.
    found = at_equal_clean([point(10, 70, 30), *CURVE], point(None, 70, 45), "advglue")
    assert [(p.step, p.robust) for p in found.passages] == [(10, 0.3), (10, 0.5)]
    assert found.highest == found.passages[1]
    # Chance is 50 of 100: from 86 down to 68 is half of the way, and 34 goes half of the way up to 50.
    assert at_equal_clean(CURVE, point(None, 68, 45), "advglue").flipped == pytest.approx(0.42)
    assert at_equal_clean([point(1, 50, 40, end=True)], point(None, 60, 40), "advglue").flipped is None


def test_a_level_that_is_never_reached_gives_no_passage() -> None:
    found = at_equal_clean(CURVE, point(None, 95, 40), "advglue")
    assert found.passages == ()
    assert found.highest is None
    assert found.nearest.step == 30


def followed(end: Point) -> list[Followed]:
    return [Followed("vanilla", "runs/v", CURVE, CURVE[-1]), Followed("rose-ensemble", "runs/r", [], end)]


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """What is printed of the curve above and of another run's end."""

    def show(end: Point, width: int = 80) -> str:
        out = io.StringIO()
        monkeypatch.setattr(along_report, "console", lambda: Console(file=out, width=width, highlight=False))
        monkeypatch.setattr(along_report, "follow", lambda *args, **kwargs: followed(end))
        print_along(["runs/v", "runs/r"], "clean,advglue")
        return out.getvalue()

    return show


def test_the_sentence_says_how_much_is_bought_with_clean_accuracy(shown: Callable[..., str]) -> None:
    text = " ".join(shown(point(None, 80, 37)).split())
    assert "rose-ensemble ends +3.0 points from the end of vanilla on AdvGLUE, at 80.0% clean accuracy." in text
    assert "Stopping vanilla at step 20, where its clean accuracy is the same, gives +6.0" in text
    assert "labels flipped at random give +2.7" in text  # 34 + 16 (1 - 30 / 36)
    assert "rose-ensemble is 3.0 points worse than vanilla stopped early" in text
    assert "(step 20; rose-ensemble has +0.0 there) the difference on AdvGLUE is -3.0" in text
    text = " ".join(shown(point(None, 80, 70)).split())
    assert "rose-ensemble is 30.0 points better than vanilla stopped early" in text
    assert text.count("rose-ensemble is better.") == 1
    text = " ".join(shown(point(None, 95, 40)).split())
    assert "vanilla never passes that level (its checkpoints have 70.0 to 90.0%)" in text
    assert "stopped early" not in text


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("clean", [80, 95])
def test_the_tables_fit(shown: Callable[..., str], width: int, clean: int) -> None:
    text = shown(point(None, clean, 37), width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    assert "86.0 [81.0,91.0]" in text


def test_runs_are_named_by_method_then_seed_then_folder(home: Path, kept: Path) -> None:
    plain = str(home / "plain")
    names = equal_clean._names
    assert names([str(kept), plain]) == ["vanilla", "random"]
    assert names([str(kept), plain, plain + "/"]) == ["vanilla", f"random 1 {plain}", f"random 1 {plain}/"]


# --- print and draw -----------------------------------------------------------------------------------------------


def test_json_holds_every_point(kept: Path, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [str(home / "plain"), str(kept)]
    print_along(runs, "clean,noise", as_json=True)
    result = json.loads(capsys.readouterr().out)
    assert result["reference"] == str(kept)  # the first that keeps checkpoints
    assert [p["step"] for p in result["runs"][str(kept)]["curve"]] == [2, 4, 6]
    assert result["runs"][runs[0]]["curve"] == []
    assert result["runs"][runs[0]]["end"]["sets"] == tiny_run.metrics(home / "plain")["sets"]
    assert list(result["at_equal_clean"]) == ["typos_1", "typos_2"]
    found = result["at_equal_clean"]["typos_1"]
    assert list(found) == [runs[0]]
    assert found[runs[0]]["nearest"] in (2, 4, 6)
    assert found[runs[0]]["robust"] == tiny_run.metrics(home / "plain")["sets"]["typos_1"]["accuracy"]


def test_the_tables_of_real_runs(kept: Path, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    print_along([str(kept), str(home / "plain")], "clean,noise")
    printed = capsys.readouterr()
    assert printed.out.startswith(f"vanilla: {kept}\n")  # whole, so that it can be copied
    assert "typing errors 2 at equal clean accuracy" in printed.out
    assert "checkpoint-4 evaluated (2 of 2)" in printed.err
    print_along([str(kept)], "clean,noise")
    assert "at equal clean accuracy" not in capsys.readouterr().out  # there is nothing to compare


@pytest.mark.parametrize(("suffix", "magic"), [("svg", b"<?xml"), ("PNG", b"\x89PNG"), ("pdf", b"%PDF")])
def test_the_figure_in_each_format(tmp_path: Path, suffix: str, magic: bytes) -> None:
    pytest.importorskip("matplotlib")
    runs = followed(point(None, 80, 37))
    paths = [tmp_path / f"{name}.{suffix}" for name in ("once", "twice")]
    for path in paths:
        curve.draw_curve(runs, str(path))
    assert paths[0].read_bytes().startswith(magic)
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_the_figure_names_what_it_shows(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    curve.draw_curve(followed(point(None, 80, 37)), str(tmp_path / "curve.svg"))
    text = (tmp_path / "curve.svg").read_text()
    for words in ("clean accuracy (%)", "AdvGLUE accuracy (%)", "vanilla, end", "rose-ensemble, end", "step 10"):
        assert f">{words}" in text
    assert ">constant predictor<" in text
    assert ">labels flipped at random<" in text


def test_a_curve_of_one_point_and_many_sets_are_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    one = point(10, 50, 40, end=True)
    sets = ("clean", *(f"typos_{strength}" for strength in range(1, 5)))
    one = replace(
        one,
        rows=dict.fromkeys(sets, one.rows["clean"]),
        metrics=dict.fromkeys(sets, one.metrics["clean"]),
    )
    curve.draw_curve([Followed("vanilla", "v", [one], one)], str(tmp_path / "curve.svg"))
    text = (tmp_path / "curve.svg").read_text()
    assert text.count(">clean accuracy (%)<") == 4
    assert "labels flipped" not in text  # the end is at chance


def test_a_figure_that_cannot_be_drawn_is_refused_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RunError, match=r"\.svg, \.png or \.pdf"):
        print_along(["nowhere"], "clean,noise", figure="curve.jpg")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setattr(curve, "find_spec", lambda name: None)
    with pytest.raises(RunError, match=r"pip install 'rosetune\[plots\]'"):
        print_along(["nowhere"], "clean,noise", figure="curve.svg")
