"""What is said of long work where there is no terminal for a bar."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from transformers import TrainerState

from rosetune import _progress
from rosetune.experiments.callbacks import PlainProgress
from rosetune.robustness.attacks.run import Row, keep_results


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Of which a test sets the time."""
    now = [0.0]
    monkeypatch.setattr(_progress.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(_progress, "SECONDS", 10.0)
    return now


def told(clock: list[float], steps: int, seconds: float, first: int = 0, every: int = 10) -> None:
    """A training whose steps all take as long, logged every so many steps."""
    progress, state = PlainProgress(), TrainerState(max_steps=steps, global_step=first)
    progress.on_train_begin(None, state, None)
    for step in range(first + 1, steps + 1):
        clock[0] += seconds
        state.global_step = step
        progress.on_step_end(None, state, None)
        if step % every == 0:
            progress.on_log(None, state, None, logs={"loss": step / 1000})


def test_a_line_for_a_tenth_of_a_long_training(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    told(clock, steps=200, seconds=60)
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert out == ""
    assert [int(re.match(r"step (\d+)/200", line)[1]) for line in lines] == [1, *range(21, 200, 20)]
    assert lines[0] == "step 1/200, 01:00 gone, 3:19:00 left"  # nothing is logged yet
    assert lines[1] == "step 21/200, loss 0.0200, 21:00 gone, 2:59:00 left"


def test_a_short_training_says_nothing(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    told(clock, steps=200, seconds=0.04)
    assert capsys.readouterr().err == ""


def test_what_is_left_of_a_resumed_training_is_from_its_own_pace(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    told(clock, steps=120, seconds=5, first=100)
    assert capsys.readouterr().err.splitlines()[0] == "step 102/120, 00:10 gone, 01:30 left"


def test_rows_are_counted_like_steps(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with _progress.progress("evaluating clean") as bar:
        for done in range(32, 321, 32):
            clock[0] += 8
            bar(done, 320)
    assert capsys.readouterr().err.splitlines() == [
        f"evaluating clean: {rows}/320, {gone} gone, {left} left"
        for rows, gone, left in (
            *((64, "00:16", "01:04"), (128, "00:32", "00:48"), (192, "00:48", "00:32")),
            (256, "01:04", "00:16"),
        )
    ]


def test_an_attack_that_goes_on_tells_of_the_rows_that_were_left(
    clock: list[float], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Each row takes a minute; five of the twenty were attacked before."""
    rows, path = [Row(f"row {i}", ("superb",), 1) for i in range(20)], tmp_path / "attack.jsonl"

    def attacked(left: Sequence[Row]) -> Iterator[dict[str, Any]]:
        for row in left:
            clock[0] += 60
            yield {"id": row.id, "status": "failed", "texts": [*row.texts], "gold": row.gold}

    keep_results(attacked, rows[:5], {"attack": "a"}, path, desc="a", progress=False)
    assert capsys.readouterr().err == ""
    keep_results(attacked, rows, {"attack": "a"}, path, desc="a", progress=True)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "a: 6/20, 01:00 gone, 14:00 left"
    assert len(lines) == 7
