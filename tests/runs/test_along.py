"""The end of a run beside the checkpoints of another: passages by hand, and which runs can be followed."""

import numpy as np
import pytest

from made_runs import ROSE, number_rows, outcomes, write_run
from rosetune.runs.along import Followed, accuracy, at_equal_clean, end_of, names_of, nearest_step, steps_with
from rosetune.runs.values import RunError

# Percent of clean and robust accuracy by step; the end is at step 40.
CURVE = {10: (70, 50), 20: (80, 40), 30: (90, 30), 40: (86, 34)}


def right(clean, robust, **more):
    """Of 1,000 clean and 100 robust examples so many percent."""
    sets = {"clean": outcomes(10 * clean, 1000 - 10 * clean), "advglue": outcomes(robust, 100 - robust)}
    return {**sets, **{name: outcomes(n, 100 - n) for name, n in more.items()}}


def curve(folder, points=CURVE, end=None, training=None):
    end = max(points) if end is None else end
    steps = {step: right(*point) for step, point in points.items()}
    return write_run(folder, steps[end], training, steps=steps, end=end)


def ended(folder, clean, robust, training=None, **more):
    """A run without checkpoints."""
    return write_run(folder, right(clean, robust, **more), training or ROSE)


class TestOneRun:
    def test_steps_and_end(self, tmp_path):
        run = curve(tmp_path / "a", end=20)
        assert end_of(run) == 20
        assert steps_with(run, "clean", "advglue") == [10, 20, 30, 40]
        assert [accuracy(run, "advglue", step) for step in (10, 20, None)] == [0.5, 0.4, 0.4]
        assert end_of(ended(tmp_path / "b", 80, 40)) is None

    def test_a_step_counts_where_it_has_all_sets(self, tmp_path):
        steps = {10: {"clean": outcomes(10)}, 20: right(80, 40)}
        run = write_run(tmp_path / "a", right(90, 30), steps=steps, end=30)
        assert steps_with(run, "clean") == [10, 20, 30]
        assert steps_with(run, "clean", "advglue") == [20, 30]
        assert nearest_step(run, 1.0, "clean") == 10
        assert nearest_step(run, 1.0, "clean", "advglue") == 30

    def test_the_nearest_is_the_earliest_of_equals(self, tmp_path):
        run = curve(tmp_path / "a")
        assert nearest_step(run, 0.88, "clean") == 30  # as near as step 40
        assert nearest_step(run, 0.1, "clean") == 10
        assert nearest_step(ended(tmp_path / "b", 80, 40), 0.5, "clean") is None


class TestEqualClean:
    def found(self, path, clean, robust, points=CURVE):
        return at_equal_clean(curve(path / "v", points), ended(path / "r", clean, robust), "advglue")

    def test_passages_and_the_nearest_checkpoint_by_hand(self, tmp_path):
        found = self.found(tmp_path, 88, 37)
        # 80 -> 90 passes 88 at 4/5 of the way; 90 -> 86 at half of it.
        assert [(p.step, p.robust) for p in found.passages] == [pytest.approx((28, 0.32)), pytest.approx((35, 0.32))]
        assert (found.clean, found.robust) == (0.88, 0.37)
        assert found.nearest == 30
        assert found.clean_difference.value == pytest.approx(-0.02)
        assert found.robust_difference.value == pytest.approx(0.07)
        assert (found.robust_difference.only_a, found.robust_difference.only_b) == (0, 7)
        assert found.flipped == pytest.approx(0.34)  # no clean accuracy is lost, none is flipped

    def test_early_stopping_is_the_first_passage_a_claim_must_beat_the_highest(self, tmp_path):
        found = self.found(tmp_path, 70, 45, {5: (70, 30), **CURVE})
        assert [(p.step, p.robust) for p in found.passages] == [(5, 0.3), (10, 0.5)]
        assert found.highest == found.passages[1]

    def test_flips(self, tmp_path):
        # Chance is 50 of 100: from 86 down to 68 is half of the way, and 34 goes half of the way up to 50.
        assert self.found(tmp_path, 68, 45).flipped == pytest.approx(0.42)

    def test_from_chance_nothing_can_be_flipped(self, tmp_path):
        assert self.found(tmp_path, 60, 40, {1: (50, 40)}).flipped is None

    def test_a_level_that_is_never_reached_gives_no_passage(self, tmp_path):
        found = self.found(tmp_path, 95, 40)
        assert found.passages == ()
        assert found.highest is None
        assert found.nearest == 30

    def test_the_flips_start_from_the_reported_end(self, tmp_path):
        """As validation_from_train leaves it: the curve goes on after the checkpoint that is reported."""
        reference = curve(tmp_path / "v", end=20)
        found = at_equal_clean(reference, ended(tmp_path / "r", 65, 45), "advglue")
        # From 80 to 65 is half of the way to chance, so that 40 goes half of the way to 50.
        assert found.flipped == pytest.approx(0.45)

    def test_as_json(self, tmp_path):
        found = self.found(tmp_path, 88, 37).as_json()
        assert found["nearest"] == 30
        assert found["passages"][0] == {"step": pytest.approx(28), "robust": pytest.approx(0.32)}
        assert found["robust_difference"]["value"] == pytest.approx(0.07)

    def test_mismatched_sets_go_with_the_mismatched_clean_set(self, tmp_path):
        def sets(clean, mismatched, robust):
            shares = {"clean": clean, "clean_mismatched": mismatched, "advglue_mismatched": robust}
            return {name: outcomes(n, 100 - n) for name, n in shares.items()}

        steps = {10: sets(50, 80, 40), 20: sets(90, 60, 30)}
        reference = write_run(tmp_path / "v", steps[20], steps=steps, end=20)
        found = at_equal_clean(reference, write_run(tmp_path / "r", sets(90, 80, 50), ROSE), "advglue_mismatched")
        assert (found.clean, found.nearest) == (0.8, 10)


class TestFollowed:
    def test_the_first_with_checkpoints_is_the_reference(self, tmp_path):
        rose, vanilla = ended(tmp_path / "r", 80, 37), curve(tmp_path / "v")
        other = curve(tmp_path / "o", training={"objective": "smart"})
        followed = Followed([rose, vanilla, other], ("clean", "advglue"))
        assert followed.reference is vanilla
        assert followed.others == [rose, other]
        assert (followed.sets, followed.robust) == (["clean", "advglue"], ["advglue"])
        assert [followed.curve(run) for run in followed.runs] == [[], [10, 20, 30, 40], [10, 20, 30, 40]]
        assert followed.equal["advglue"].keys() == {str(rose), str(other)}
        assert followed.equal["advglue"][str(rose)].passages[0].step == 20
        assert followed.metrics(vanilla, 10)["advglue"]["accuracy"] == 0.5
        assert followed.metrics(rose, None)["advglue"]["accuracy"] == 0.37

    def test_sets_that_all_have_of_the_kinds_that_were_asked_for(self, tmp_path):
        steps = {10: right(70, 50, typos_1=60, advglue_originals=90)}
        end = right(80, 40, typos_1=50, typos_2=40, advglue_originals=90)
        vanilla = write_run(tmp_path / "v", end, steps=steps, end=20)
        rose = ended(tmp_path / "r", 80, 37, typos_1=55, advglue_originals=90)
        assert Followed([vanilla, rose], ("noise", "advglue")).sets == ["clean", "typos_1", "advglue"]
        assert Followed([vanilla, rose], ("noise",)).sets == ["clean", "typos_1"]  # the clean set is always there

    def test_what_cannot_be_followed_says_what_to_do(self, tmp_path):
        vanilla, rose = curve(tmp_path / "v"), ended(tmp_path / "r", 80, 37)
        with pytest.raises(RunError, match=r"r keeps no checkpoints, .*/r/config\.yaml .* --save_total_limit 20`"):
            Followed([rose], ("advglue",))
        with pytest.raises(RunError, match="needs robust sets beside the clean one, such as --sets clean,advglue"):
            Followed([vanilla, rose], ("clean",))
        with pytest.raises(RunError, match="needs robust sets"):
            Followed([vanilla, rose], ("noise",))
        strange = write_run(tmp_path / "s", {"clean": outcomes(9, 1), "advglue": outcomes(9, 1)}, ROSE)
        with pytest.raises(
            RunError, match=r"v and .*s were not evaluated on the same examples: give runs of one task"
        ):
            Followed([vanilla, strange], ("advglue",))

    def test_a_regression_has_no_accuracy_to_follow(self, tmp_path):
        gold = np.linspace(0, 5, 20)
        sets = {name: number_rows(name, gold, gold + 0.5) for name in ("clean", "typos_1")}
        run = write_run(tmp_path / "a", sets, labels=(), steps={10: sets}, end=20)
        with pytest.raises(RunError, match="a is a regression: a curve over training needs accuracies"):
            Followed([run], ("noise",))


def test_runs_are_named_by_method_then_seed_then_folder(tmp_path):
    runs = [
        write_run(tmp_path / name, {}, training)
        for name, training in (
            ("v", {"seed": 1}),
            ("r1", {**ROSE, "seed": 1}),
            ("r2", {**ROSE, "seed": 2}),
            ("r2-again", {**ROSE, "seed": 2}),
        )
    ]
    assert names_of(runs[:2]) == ["vanilla", "rose-ensemble"]
    assert names_of(runs[:3]) == ["vanilla", "rose-ensemble seed 1", "rose-ensemble seed 2"]
    assert names_of(runs) == [
        "vanilla",
        "rose-ensemble seed 1",
        *(f"rose-ensemble seed 2 {tmp_path / name}" for name in ("r2", "r2-again")),
    ]
