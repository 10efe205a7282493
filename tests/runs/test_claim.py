"""A claim beside its controls: who shows the gain too, what was not tried, and what is said of it."""

import numpy as np
import pytest

from made_runs import ROSE, number_rows, outcomes, write_attack, write_json, write_run
from rosetune.robustness.significance import paired_t_test
from rosetune.runs.claim import control_results, differing, not_tried, sentences, trained_controls
from rosetune.runs.compare import compare, open_group, paired
from rosetune.runs.identity import model_identity
from rosetune.runs.run import Run
from rosetune.runs.values import RunError

CLEAN = outcomes(90, 10)
PLAIN, BETTER = outcomes(40, 60), outcomes(70, 30)


def both(path, a, b, **options):
    return paired([write_run(path / "a", a, **options)], [write_run(path / "b", b, ROSE, **options)])


def claimed(path, **options):
    """The claim gains 30 of 100 points on typos_1 and loses 4 on the clean set."""
    return both(path, {"clean": CLEAN, "typos_1": PLAIN}, {"clean": outcomes(86, 14), "typos_1": BETTER}, **options)


def found_on(results, name="typos_1"):
    return {result.control: result for result in results[name]}


class TestWhoShowsTheGainToo:
    def found(self, path, **controls):
        a, b = claimed(path)
        trained = {
            name: [write_run(path / name, {"clean": CLEAN, "typos_1": right}, {"objective": name})]
            for name, right in controls.items()
        }
        results = control_results(a, b, trained)
        return found_on(results), sentences(a, b, compare(a, b), results)["typos_1"]

    def test_each_answer(self, tmp_path):
        found, said = self.found(
            tmp_path,
            as_good=BETTER,
            half=outcomes(55, 45),
            plain=PLAIN,
            other_rows=outcomes(0, 38, 62, 0),
        )
        assert {name: result.answer for name, result in found.items()} == {
            "constant": "no",  # ten points more, on other examples
            "flip": "no",  # one point more, whose interval holds 0
            "as_good": "yes",
            "half": "in part",
            "plain": "no",
            "other_rows": "yes",
        }
        assert (found["half"].gain, found["half"].difference) == (pytest.approx(0.15), pytest.approx(0.15))
        assert (found["half"].clean, found["half"].accuracy, found["half"].seeds) == (0.9, 0.55, 1)
        assert said.startswith("rose-ensemble gains +30.0 points [+2")
        assert "Shown as well by as_good (+30.0), other_rows (+22.0)." in said
        assert "Not shown by constant (+10.0), flip (+1.0), plain (+0.0)." in said

    def test_computed_ones(self, tmp_path):
        found, _ = self.found(tmp_path)
        assert found.keys() == {"constant", "flip"}
        assert found["constant"].accuracy == 0.5
        # 4 points of clean accuracy, a tenth of what lies above chance, take a tenth of the way from 0.4 to chance.
        assert found["flip"].accuracy == pytest.approx(0.41)
        assert found["flip"].difference == pytest.approx(0.7 - 0.41)
        assert found["flip"].clean == pytest.approx(0.86)

    def test_a_control_without_a_gain_shows_none_however_wide_its_interval(self, tmp_path):
        a, b = both(
            tmp_path,
            {"clean": outcomes(60, 20), "advglue": outcomes(24, 16)},
            {"clean": outcomes(60, 20), "advglue": outcomes(30, 10)},
        )
        run = write_run(tmp_path / "c", {"clean": outcomes(60, 20), "advglue": outcomes(0, 16, 23, 1)})
        found = found_on(control_results(a, b, {"c": [run]}), "advglue")["c"]
        assert found.gain < 0
        assert found.low < 0 < found.difference
        assert found.answer == "not told apart"

    def test_of_clean_sets_and_the_noise_curve_none_is_asked(self, tmp_path):
        sets = dict.fromkeys(("clean", "typos_1", "ocr@0.5", "advglue", "advglue_originals"), PLAIN)
        results = control_results(*both(tmp_path, sets, sets), {})
        assert list(results) == ["typos_1", "advglue"]


class TestUnderAttack:
    def test_a_constant_keeps_its_label_under_any_attack(self, tmp_path):
        a, b = write_run(tmp_path / "a", {}), write_run(tmp_path / "b", {}, ROSE)
        for run in (a, b):
            write_attack(run, ["success"] * 5)  # of the labels 0, 1, 0, 1, 0
        [constant] = control_results([a], [b], {})["attack:pwws"]
        assert (constant.control, constant.accuracy) == ("constant", 0.6)

    def test_a_control_counts_on_the_rows_that_all_have_suffered(self, tmp_path):
        a, b, c = (write_run(tmp_path / name, {}, training) for name, training in (("a", {}), ("b", ROSE), ("c", {})))
        write_attack(a, ["success"] * 6)
        write_attack(b, ["failed"] * 6)
        write_attack(c, ["failed", "success", "success"])
        found = found_on(control_results([a], [b], {"c": [c]}), "attack:pwws")
        assert found["c"].accuracy == pytest.approx(1 / 3)
        assert found["c"].gain == pytest.approx(1 / 3)
        assert found["c"].difference == pytest.approx(2 / 3)
        assert found["c"].clean is None

    def test_flips_leave_at_most_so_much(self, tmp_path):
        """A loss of 4 of the 40 points above chance flips one row in twenty; two rows were wrong before."""
        a = write_run(tmp_path / "a", {"clean": CLEAN})
        b = write_run(tmp_path / "b", {"clean": outcomes(86, 14)}, ROSE)
        write_attack(a, ["failed"] * 2 + ["success"] * 6 + ["skipped"] * 2)
        write_attack(b, ["failed"] * 8 + ["skipped"] * 2)
        flip = found_on(control_results([a], [b], {}), "attack:pwws")["flip"]
        assert flip.accuracy == pytest.approx(0.95 * 0.2 + 0.05 * 0.2)
        assert (flip.clean, flip.difference) == (pytest.approx(0.86), pytest.approx(0.6))
        assert flip.answer == "no"

    def test_no_checkpoint_was_attacked(self, tmp_path):
        a = write_run(tmp_path / "a", {"clean": CLEAN}, steps={10: {"clean": CLEAN}})
        b = write_run(tmp_path / "b", {"clean": CLEAN}, ROSE)
        for run in (a, b):
            write_attack(run, ["success"] * 4)
        assert found_on(control_results([a], [b], {}), "attack:pwws").keys() == {"constant", "flip"}


class TestSeveralSeeds:
    def test_those_seeds_that_a_control_has(self, tmp_path):
        rng = np.random.default_rng(0)
        right = {name: rng.random((2, 300)) < p for name, p in (("a", 0.6), ("b", 0.8), ("c", 0.8))}
        for seed in (1, 2):
            for name, training in (("a", {}), ("b", ROSE), ("c", {"update_mask": "random"})):
                density = {"update_mask_kwargs": {"upper": 0.3 + seed / 100}} if name == "c" else {}
                sets = {"clean": right[name][seed - 1], "typos_1": right[name][seed - 1]}
                write_run(tmp_path / f"{name}{seed}", sets, {"seed": seed, **training, **density})
        a, b = (open_group(f"{tmp_path / name}1,{tmp_path / name}2") for name in "ab")
        c = [Run.open(tmp_path / name) for name in ("c1", "c2")]
        found = found_on(control_results(a, b, {"random_fresh": c, "one": c[1:]}))
        assert (found["random_fresh"].seeds, found["one"].seeds) == (2, 1)
        assert found["random_fresh"].difference == pytest.approx(right["b"].mean() - right["c"].mean())
        assert found["one"].difference == pytest.approx(right["b"][1].mean() - right["c"][1].mean())
        # Clean accuracy rises, so that no label is flipped: what is left is the baseline, seed by seed.
        assert found["flip"].accuracy == pytest.approx(right["a"].mean())
        t = paired_t_test(right["a"].mean(axis=1).tolist(), right["b"].mean(axis=1).tolist())
        assert (found["flip"].low, found["flip"].high) == (pytest.approx(t.low), pytest.approx(t.high))

    def test_flips_of_each_pair_and_then_the_mean(self, tmp_path):
        clean = {"a": (0.9, 0.8), "b": (0.7, 0.75)}
        for name, training in (("a", {}), ("b", ROSE)):
            for seed, share in enumerate(clean[name], 1):
                n = round(100 * share)
                sets = {"clean": outcomes(n, 100 - n), "typos_1": outcomes(30 + seed, 70 - seed)}
                write_run(tmp_path / f"{name}{seed}", sets, {"seed": seed, **training})
        a, b = (open_group(f"{tmp_path / name}1,{tmp_path / name}2") for name in "ab")
        each = [
            0.5 + (robust - 0.5) * (after - 0.5) / (before - 0.5)
            for before, after, robust in zip(*clean.values(), (0.31, 0.32), strict=True)
        ]
        found = found_on(control_results(a, b, {}))["flip"]
        assert (found.seeds, found.accuracy) == (2, pytest.approx(np.mean(each)))
        assert found.clean == pytest.approx((0.7 + 0.75) / 2)


class TestEarlyStopping:
    def found(self, path, points, end=30):
        steps = {
            step: {"clean": outcomes(clean, 100 - clean), "typos_1": outcomes(robust, 100 - robust)}
            for step, (clean, robust) in points.items()
        }
        a = write_run(path / "a", {"clean": CLEAN, "typos_1": PLAIN}, steps=steps, end=end)
        b = write_run(path / "b", {"clean": outcomes(86, 14), "typos_1": BETTER}, ROSE)
        results = control_results([a], [b], {})
        return found_on(results).get("early_stopping"), " ".join(not_tried([a], [b], {}, results))

    def test_it_is_the_checkpoint_of_the_nearest_clean_accuracy(self, tmp_path):
        found, missing = self.found(tmp_path, {10: (50, 50), 20: (85, 65), 30: (90, 40)})
        assert (found.clean, found.accuracy) == (0.85, 0.65)
        assert found.difference == pytest.approx(0.05)
        assert "No early stopping" not in missing

    def test_the_earliest_of_equally_near_ones(self, tmp_path):
        found, _ = self.found(tmp_path, {10: (87, 50), 20: (85, 65), 30: (90, 40)})
        assert (found.clean, found.accuracy) == (0.87, 0.5)

    def test_a_checkpoint_of_another_clean_accuracy_is_none(self, tmp_path):
        found, missing = self.found(tmp_path, {10: (88, 12)})  # the claim has 86
        assert found is None
        assert "No early stopping on typing errors 1: vanilla has no predictions along training there" in missing
        assert "or no checkpoint within a point of the claim's clean accuracy" in missing


class TestWhatIsSaid:
    def test_without_any_control_that_is_said(self, tmp_path):
        a, b = claimed(tmp_path)
        assert sentences(a, b, compare(a, b), {"typos_1": []})["typos_1"].endswith("No control was tried on it.")

    def test_without_a_gain_no_control_is_asked(self, tmp_path):
        a, b = both(
            tmp_path,
            {"clean": CLEAN, "typos_1": BETTER, "typos_2": BETTER},
            {"clean": CLEAN, "typos_1": BETTER, "typos_2": PLAIN},
        )
        said = sentences(a, b, compare(a, b), control_results(a, b, {}))
        assert said["typos_1"].startswith("rose-ensemble is not shown to be better: +0.0 points")
        assert said["typos_2"].startswith("rose-ensemble is worse: -30.0 points")
        assert all("hown by" not in sentence for sentence in said.values())

    def test_what_was_not_tried(self, tmp_path):
        a, b = claimed(tmp_path)
        trained = {"uniform": [write_run(tmp_path / "c", {"clean": CLEAN})]}
        said = " ".join(not_tried(a, b, trained, control_results(a, b, trained)))
        assert "Controls not at hand: two_pass, reversed" in said
        assert f"(`rosetune controls {b[0]}` trains them)" in said
        assert "vanilla" not in said.split("(`rosetune controls")[0]  # that is the baseline
        assert "Without results on typing errors 1 (`rosetune evaluate`, `rosetune attack`): uniform." in said
        assert "No early stopping on typing errors 1" in said

    def test_another_baseline_lacks_vanilla_too(self, tmp_path):
        a = [write_run(tmp_path / "a", {"typos_1": PLAIN}, {"objective": "r_drop"})]
        b = [write_run(tmp_path / "b", {"typos_1": BETTER}, ROSE)]
        assert not_tried(a, b, {}, {})[0].startswith("Controls not at hand: vanilla, two_pass")

    def test_what_differs_beside_the_method(self, tmp_path):
        a = write_run(tmp_path / "a", {}, {"learning_rate": 1, "seed": 1, "max_steps": 10})
        b = write_run(tmp_path / "b", {}, {**ROSE, "learning_rate": 2, "seed": 2}, max_length=64)
        assert differing(a, b) == ["learning_rate", "max_length"]


class TestRegression:
    """What is said of a regression is said in units of squared error."""

    def results(self, path, trained=()):
        gold = np.linspace(0, 5, 60)

        def sets(shift):
            return {name: number_rows(name, gold, gold + shift) for name in ("clean", "typos_1")}

        spread = np.tile([0.9, -1.1], 30)
        a, b = both(path, sets(spread), sets(0.5 * spread), labels=())
        runs = {
            name: [write_run(path / name, sets(shift * spread), {"objective": name}, labels=())]
            for name, shift in trained
        }
        results = control_results(a, b, runs)
        return a, b, runs, results, sentences(a, b, compare(a, b), results)

    # The mean of 0.9^2 and 1.1^2 is 1.01; half the spread leaves a quarter of it.
    def test_a_gain_and_its_controls(self, tmp_path):
        _, _, _, results, said = self.results(tmp_path, [("smart", 0.5), ("r_drop", 1.0)])
        assert said["typos_1"].startswith("rose-ensemble gains +0.758 of squared error [+0.7")
        assert "against vanilla. Shown as well by smart (+0.758). Not shown by r_drop (+0.000)." in said["typos_1"]
        assert "points" not in said["typos_1"]
        found = found_on(results)
        assert found.keys() == {"smart", "r_drop"}  # no constant, no flips: there are no labels
        assert found["smart"].accuracy == pytest.approx(1.01 / 4)
        assert found["smart"].gain == pytest.approx(1.01 * 3 / 4)
        assert found["smart"].clean is None

    def test_worse(self, tmp_path):
        a, b, _, _, _ = self.results(tmp_path)
        said = sentences(b, a, compare(b, a), control_results(b, a, {}))["typos_1"]
        assert said.startswith("vanilla is worse: -0.758 of squared error [-0.")

    def test_without_controls(self, tmp_path):
        a, b, _, results, said = self.results(tmp_path)
        assert results == {"typos_1": []}
        assert said["typos_1"].endswith("No control was tried on it.")
        assert not any("early stopping" in line.lower() for line in not_tried(a, b, {}, results))


def test_named_controls(tmp_path):
    a, b = claimed(tmp_path)
    assert trained_controls(b, [f"mine={a[0]}"]) == {"mine": a}
    for wrong in ("mine", "=x", "mine="):
        with pytest.raises(RunError, match=f"NAME=RUN, not '{wrong}'"):
            trained_controls(b, [wrong])
    other = write_run(tmp_path / "other", {"clean": CLEAN}, {"learning_rate": 1}, data_fingerprint="y")
    with pytest.raises(RunError, match="it differs in data_fingerprint, learning_rate"):
        trained_controls(b, [f"mine={other}"])
    with pytest.raises(RunError, match="there is no folder"):
        trained_controls(b, [f"mine={tmp_path / 'none'}"])


class TestNormalization:
    """The baseline behind a normalisation is a control, though it was not trained on the claim's terms."""

    NAME = "leetspeak@0.5"

    def normalized(self, path, model, right, **options):
        identity = {"given": True, "normalize": ["leet"], "model_name_or_path": model, "max_length": 64, **options}
        config = {"given": True, "normalize": ["leet"], "model_name_or_path": "x"}
        return write_run(path, {"clean": CLEAN, self.NAME: right}, config=config, **identity)

    def both(self, path, seeds=(1,)):
        a, b = [], []
        for seed in seeds:
            options = {"max_length": 64, "model_name_or_path": "base"}
            sides = ((a, "a", {}, PLAIN), (b, "b", {"objective": "r_drop"}, BETTER))
            for side, name, method, right in sides:
                sets = {"clean": CLEAN, self.NAME: right}
                run = write_run(path / f"{name}{seed}", sets, {**method, "learning_rate": 2, "seed": seed}, **options)
                side.append(run)
            write_json(a[-1].folder / "model/config.json", {})
            (a[-1].folder / "model/model.safetensors").write_bytes(bytes([seed]))
        return a, b

    @pytest.mark.parametrize(
        ("right", "said"),
        [
            (outcomes(95, 5), "Shown to be better than it: normalize (+55.0). Shown as well by normalize (+55.0)."),
            (BETTER, "Shown as well by normalize (+30.0)."),
            (outcomes(55, 45), "Shown in part by normalize (+15.0)."),
            (PLAIN, "Not shown by"),
        ],
    )
    def test_the_verdict_sets_it_beside_the_gain(self, right, said, tmp_path):
        a, b = self.both(tmp_path)
        named = [f"normalize={self.normalized(tmp_path / 'n', model_identity(str(a[0].folder)), right)}"]
        trained = trained_controls(b, named, a)
        results = control_results(a, b, trained)
        sentence = sentences(a, b, compare(a, b), results)[self.NAME]
        assert said in sentence
        assert ("better than it" in sentence) == ("better than it" in said)
        assert "Normalisation" not in " ".join(not_tried(a, b, trained, results))
        assert f"--model_name_or_path {a[0]} --task T --normalize all" in " ".join(not_tried(a, b, {}, results))

    def test_beside_its_own_weights_it_is_no_control_and_none_is_missing(self, tmp_path):
        a, _ = self.both(tmp_path)
        own = [self.normalized(tmp_path / "n", model_identity(str(a[0].folder)), BETTER)]
        assert differing(a[0], own[0]) == differing(own[0], a[0]) == []
        for sides in ((a, own), (own, a)):
            assert "Normalisation" not in " ".join(not_tried(*sides, {}, control_results(*sides, {})))
        for wrong, side in ((own[0], "B, the claim"), (a[0], "A, the baseline")):
            with pytest.raises(
                RunError, match=f"is already {side}: leave --controls out, or name a third run$"
            ) as told:
                trained_controls(own, [f"normalize={wrong}"], a)
            assert "\n" not in str(told.value)

    def test_a_given_model_differs_in_no_option_of_a_training(self, tmp_path):
        """The options of a training, which it has none of, say nothing; another model and another length do."""
        _, b = self.both(tmp_path)
        given = {"given": True, "model_name_or_path": "elsewhere", "max_length": 32, "max_train_samples": 8}
        other = write_run(tmp_path / "o", {"clean": CLEAN, self.NAME: PLAIN}, config={"given": True}, **given)
        assert differing(b[0], other) == ["given", "max_length", "model_name_or_path"]

    def test_of_several_seeds_each_stands_beside_its_own(self, tmp_path):
        a, b = self.both(tmp_path, (1, 2))
        right = {1: BETTER, 2: PLAIN}
        made = {
            run.seed: self.normalized(tmp_path / f"n{run.seed}", model_identity(str(run.folder)), right[run.seed])
            for run in a
        }
        trained = trained_controls(b, [f"normalize={made[2]}", f"normalize={made[1]}"], a)
        assert [run.seed for run in trained["normalize"]] == [2, 1]
        found = found_on(control_results(a, b, trained), self.NAME)["normalize"]
        assert (found.seeds, found.gain) == (2, pytest.approx(0.15))

    def test_a_model_that_was_given_is_a_baseline_too(self, tmp_path):
        sets = {"clean": CLEAN, self.NAME: PLAIN}
        given = {"given": True, "model_name_or_path": "sha256:1", "max_length": 64}
        a = [write_run(tmp_path / "a", sets, config={"given": True}, **given)]
        _, b = self.both(tmp_path)
        named = [f"normalize={self.normalized(tmp_path / 'n', 'sha256:1', BETTER)}"]
        assert trained_controls(b, named, a)["normalize"][0].of == a[0]

    def test_another_model_or_other_data_is_no_control(self, tmp_path):
        a, b = self.both(tmp_path)
        model = model_identity(str(a[0].folder))
        for name, wrong in {
            "weights": self.normalized(tmp_path / "n1", model_identity(str(b[0].folder)), BETTER),
            "length": self.normalized(tmp_path / "n2", model, BETTER, max_length=32),
            "data": self.normalized(tmp_path / "n3", model, BETTER, data_fingerprint="y"),
        }.items():
            with pytest.raises(
                RunError, match=r"no control of .* given.*, and was not made of the baseline, with"
            ) as told:
                trained_controls(b, [f"normalize={wrong}"], a)
            assert "\n" not in str(told.value), name
        plain = write_run(tmp_path / "n4", {"clean": CLEAN}, config={"given": True}, given=True)
        with pytest.raises(RunError, match="it differs in given, ") as told:
            trained_controls(b, [f"normalize={plain}"], a)
        assert "baseline" not in str(told.value)


def test_controls_in_the_folder_of_the_claim(tmp_path):
    a, b = claimed(tmp_path, metrics=True)  # the controls are those of what it was evaluated on
    sets = {"clean": CLEAN, "typos_1": PLAIN}
    vanilla = write_run(b[0].folder / "controls/vanilla", sets)
    (b[0].folder / "controls/uniform").mkdir()  # not finished
    assert trained_controls(b) == {"vanilla": [vanilla]}
    assert trained_controls(b, [f"vanilla={a[0]}"]) == {"vanilla": a}  # what is named goes before
    write_run(b[0].folder / "controls/two_pass", sets, {"objective": "smart"})
    with pytest.raises(RunError, match=r"two_pass is not the control two_pass of .*b, which `rosetune controls`"):
        trained_controls(b)


def test_mismatched_sets_are_judged_by_the_mismatched_clean_set(tmp_path):
    """MNLI: three labels, two clean sets, two AdvGLUE sets."""
    right = {
        "a": {"clean": outcomes(90, 10), "clean_mismatched": outcomes(80, 20), "advglue_mismatched": outcomes(30, 70)},
        "b": {"clean": outcomes(90, 10), "clean_mismatched": outcomes(60, 40), "advglue_mismatched": outcomes(60, 40)},
    }
    a, b = both(tmp_path, right["a"], right["b"], labels=("yes", "maybe", "no"))
    found = found_on(control_results(a, b, {}), "advglue_mismatched")
    # Of three labels chance is a third: clean accuracy sinks from 80 to 60, toward it.
    kept = (0.6 - 1 / 3) / (0.8 - 1 / 3)
    assert found["flip"].accuracy == pytest.approx(1 / 3 + (0.3 - 1 / 3) * kept)
    assert found["flip"].clean == pytest.approx(0.6)
