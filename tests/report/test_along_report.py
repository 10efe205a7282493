"""What is said and shown of runs over training."""

import io
import json

import pytest
from rich.console import Console

from made_runs import ROSE, outcomes, write_run
from rosetune.report.along import followed_as_json, print_along
from rosetune.runs.along import Followed

# Percent of clean and robust accuracy by step; the last one is the end.
CURVE = {10: (70, 50), 20: (80, 40), 30: (90, 30), 40: (86, 34)}


def right(clean, robust):
    return {"clean": outcomes(10 * clean, 1000 - 10 * clean), "advglue": outcomes(robust, 100 - robust)}


@pytest.fixture(scope="module")
def vanilla(tmp_path_factory):
    steps = {step: right(*point) for step, point in CURVE.items()}
    return write_run(tmp_path_factory.mktemp("runs") / "v", steps[40], steps=steps, end=40)


@pytest.fixture
def follow(vanilla, tmp_path):
    """The curve above, and the end of another run."""

    def make(clean, robust, name="r"):
        return Followed([vanilla, write_run(tmp_path / name, right(clean, robust), ROSE)], ("advglue",))

    return make


def printed(followed, width=80):
    file = io.StringIO()
    print_along(Console(file=file, width=width, highlight=False), followed)
    return file.getvalue()


def said(followed):
    return " ".join(printed(followed).split())


def test_worse_than_stopping_early(follow):
    text = said(follow(80, 37))
    assert "rose-ensemble ends +3.0 points from the end of vanilla on AdvGLUE, at 80.0% clean accuracy." in text
    assert "Stopping vanilla at step 20, where its clean accuracy is the same, gives +6.0" in text
    assert "labels flipped at random give +2.7" in text  # 34 + 16 (1 - 30 / 36)
    assert "rose-ensemble is 3.0 points worse than vanilla stopped early" in text
    assert "(step 20; rose-ensemble has +0.0 there) the difference on AdvGLUE is -3.0" in text
    assert "within the noise" in text
    assert "One seed a run" in text


def test_better_than_stopping_early(follow):
    text = said(follow(80, 70))
    assert "rose-ensemble is 30.0 points better than vanilla stopped early" in text
    assert text.count("rose-ensemble is better.") == 1


def test_as_good_as_stopping_early(follow):
    assert "rose-ensemble is as good as vanilla stopped early" in said(follow(80, 40))


def test_a_level_that_is_never_reached(follow):
    text = said(follow(95, 40))
    assert "vanilla never passes that level (its checkpoints have 70.0 to 90.0%)" in text
    assert "stopped early" not in text
    assert "never" in text.split("at equal clean accuracy, in %")[1].split("rose-ensemble ends")[0]


def test_the_highest_passage_is_said_where_it_is_not_the_first(vanilla, tmp_path):
    steps = {5: right(70, 30), **{step: right(*point) for step, point in CURVE.items()}}
    reference = write_run(tmp_path / "v", steps[40], steps=steps, end=40)
    text = said(Followed([reference, write_run(tmp_path / "r", right(70, 45), ROSE)], ("advglue",)))
    assert "Stopping vanilla at step 5, where its clean accuracy is the same, gives -4.0" in text
    assert "(at most +16.0, at step 10)" in text


@pytest.mark.parametrize("width", [40, 80, 120])
@pytest.mark.parametrize("clean", [80, 95])
def test_the_tables_fit(follow, width, clean):
    followed = follow(clean, 37)
    text = printed(followed, width)
    lines = [line for line in text.splitlines() if str(followed.reference) not in line]
    assert max(map(len, lines)) <= width
    assert "…" not in text
    for figure in ("70.0", "80.0", "90.0", "86.0", "50.0", "40.0", "30.0", "34.0", "37.0"):
        assert figure in text


def test_folders_are_shown_whole_and_brackets_are_no_markup(follow, vanilla):
    """Two runs of one method and seed are told apart by their folders."""
    followed = follow(80, 37, "r[1]")
    assert printed(followed).startswith(f"vanilla: {vanilla}\n")  # whole, so that it can be copied
    again = write_run(followed.others[0].folder.parent / "r[2]", right(70, 37), ROSE)
    both = Followed([vanilla, followed.others[0], again], ("advglue",))
    text = printed(both, 300)
    assert all(f"rose-ensemble seed 42 {run} " in text for run in both.others)


def test_one_run_alone_is_compared_with_nothing(vanilla):
    text = printed(Followed([vanilla], ("advglue",)))
    assert "Over training: accuracy in % [95%]" in text
    assert "at equal clean accuracy" not in text
    assert "One seed a run" not in text


def test_json_holds_every_point(follow):
    followed = follow(80, 37)
    found = json.loads(json.dumps(followed_as_json(followed), allow_nan=False))
    own, other = (str(run) for run in followed.runs)
    assert found["reference"] == own
    points = {
        p["step"]: (p["sets"]["clean"]["accuracy"], p["sets"]["advglue"]["accuracy"])
        for p in found["runs"][own]["curve"]
    }
    assert points == {step: (clean / 100, robust / 100) for step, (clean, robust) in CURVE.items()}
    assert [(p["epoch"], p["end"]) for p in found["runs"][own]["curve"]][-2:] == [(0.3, False), (0.4, True)]
    assert found["runs"][own]["end"] == found["runs"][own]["curve"][-1]
    assert (found["runs"][other]["curve"], found["runs"][other]["end"]["step"]) == ([], None)
    assert found["runs"][other]["name"] == "rose-ensemble"
    assert found["at_equal_clean"]["advglue"][other]["nearest"] == 20
