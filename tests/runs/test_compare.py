"""Two groups of runs on the same examples: known outcomes, attacks, seeds, clusters, and what is left out and why."""

import dataclasses

import numpy as np
import pytest
from scipy.stats import binomtest, ttest_rel

from made_runs import ROSE, make_rows, number_rows, outcomes, write_attack, write_run
from rosetune.robustness import statistics
from rosetune.robustness.significance import sign_flip_test, sign_test
from rosetune.robustness.statistics import Estimate, difference, difference_of_errors, estimate
from rosetune.runs.compare import by_attack, common_success, compare, not_compared, open_group, paired
from rosetune.runs.run import Run
from rosetune.runs.values import RunError


def both(path, a, b, **options):
    return paired([write_run(path / "a", a, **options)], [write_run(path / "b", b, ROSE, **options)])


def group(path, names):
    return open_group(",".join(str(path / name) for name in names))


def test_one_pair_of_runs(tmp_path):
    a, b = both(tmp_path, {"clean": outcomes(60, 40)}, {"clean": outcomes(50, 10, 25, 15)})
    assert (a[0].method, b[0].method) == ("vanilla", "rose-ensemble")
    d = compare(a, b)["clean"]
    assert (d.n, d.seeds, d.a.value, d.b.value, d.only_a, d.only_b) == (100, 1, 0.6, 0.75, 10, 25)
    assert d.value == pytest.approx(0.15)
    assert d.p == pytest.approx(binomtest(10, 35).pvalue)
    assert d.p_b_better == pytest.approx(binomtest(25, 35, alternative="greater").pvalue)
    assert d.p_a_better == pytest.approx(binomtest(10, 35, alternative="greater").pvalue)
    assert d.low < 0.15 < d.high
    assert d.a == estimate(outcomes(60, 40))


def test_the_order_of_the_rows_does_not_matter(tmp_path):
    right = outcomes(50, 10, 25, 15)
    a, b = both(tmp_path, {"clean": outcomes(60, 40)}, {"clean": make_rows("clean", right)[::-1]})
    assert compare(a, b)["clean"].value == pytest.approx(0.15)
    assert (compare(a, b)["clean"].only_a, compare(a, b)["clean"].only_b) == (10, 25)


def test_turned_round_everything_changes_its_sign(tmp_path):
    a, b = both(tmp_path, {"clean": outcomes(60, 40)}, {"clean": outcomes(50, 10, 25, 15)})
    there, back = compare(a, b)["clean"], compare(b, a)["clean"]
    assert (back.value, back.only_a, back.only_b) == (pytest.approx(-there.value), there.only_b, there.only_a)
    assert (back.low, back.high) == (pytest.approx(-there.high), pytest.approx(-there.low))
    assert (back.p, back.p_b_better) == (pytest.approx(there.p), pytest.approx(there.p_a_better))
    assert (there.verdict, back.verdict) == (1, -1)


def test_several_seeds_are_paired_by_seed(tmp_path):
    rng = np.random.default_rng(0)
    right = {name: rng.random((3, 200)) < p for name, p in (("a", 0.6), ("b", 0.7))}
    for name, table in right.items():
        for seed in range(3):
            training = {"seed": seed, **(ROSE if name == "b" else {})}
            write_run(tmp_path / f"{name}{seed}", {"clean": table[seed]}, training)
    a, b = paired(group(tmp_path, ("a0", "a1", "a2")), group(tmp_path, ("b2", "b1", "b0")))
    assert [run.seed for run in b] == [0, 1, 2]
    d = compare(a, b)["clean"]
    means = right["b"].mean(axis=1), right["a"].mean(axis=1)
    assert d.value == pytest.approx(right["b"].mean() - right["a"].mean())
    assert d.p == pytest.approx(ttest_rel(*means).pvalue)
    assert d.p_b_better == pytest.approx(ttest_rel(*means, alternative="greater").pvalue)
    assert d.sd == pytest.approx(np.std(means[0] - means[1], ddof=1))
    assert len(d.per_seed) == 3
    assert d.b == estimate(right["b"])


def test_only_common_seeds_are_compared(tmp_path):
    for name, training in (("a", {}), ("b", ROSE)):
        for seed in (1, 2, 3):
            right = outcomes(seed, 3 - seed) if name == "a" else outcomes(3, 0)
            write_run(tmp_path / f"{name}{seed}", {"clean": right}, {"seed": seed, **training})
    a, b = paired(group(tmp_path, ("a1", "a2")), group(tmp_path, ("b3", "b2")))
    assert ([run.seed for run in a], [run.seed for run in b]) == ([2], [2])
    assert compare(a, b)["clean"].a.value == pytest.approx(2 / 3)


def test_seeds_may_differ_in_what_belongs_to_a_seed(tmp_path):
    """The seed of a mask's draws and the trace it follows; nothing else."""
    options = [{"upper": 0.4, "seed": seed, "trace": f"t{seed}.npz"} for seed in (1, 2)]
    for seed, kwargs in enumerate([*options, {**options[0], "upper": 0.5}], 1):
        training = {"seed": seed, "update_mask": "static", "update_mask_kwargs": kwargs}
        write_run(tmp_path / f"m{seed}", {"clean": outcomes(1, 1)}, training)
    assert len(group(tmp_path, ("m1", "m2"))) == 2
    with pytest.raises(RunError, match=r"differ in update_mask_kwargs\.upper$"):
        group(tmp_path, ("m1", "m3"))


def test_attack_by_kind_needs_the_annotations(tmp_path):
    right = outcomes(4, 4)
    kinds = {"method": ["TextFooler", "SCPN"] * 4, "data_construction": ["word", "sentence"] * 4}
    a, b = both(
        tmp_path,
        {"advglue": make_rows("advglue", right, **kinds), "clean": right},
        {"advglue": make_rows("advglue", outcomes(8, 0), **kinds), "clean": right},
    )
    groups = by_attack(a, b, "advglue")
    assert groups.keys() == {"word", "word/TextFooler", "sentence", "sentence/SCPN"}
    assert {(d.n, d.a.value, d.b.value) for d in groups.values()} == {(4, 0.5, 1.0)}
    assert by_attack(a, b, "clean") == {}


def test_the_sets_come_in_the_order_of_a_table(tmp_path):
    names = ("advglue", "typos_2", "clean", "ocr@0.5", "typos_1")
    a, b = both(tmp_path, *({name: outcomes(2, 2) for name in order} for order in (names, names[::-1])))
    assert list(compare(a, b)) == ["clean", "typos_1", "typos_2", "ocr@0.5", "advglue"]


class TestAttacks:
    SETS = {"clean": outcomes(1, 0)}  # noqa: RUF012

    def runs(self, path):
        return write_run(path / "a", self.SETS), write_run(path / "b", self.SETS, ROSE)

    def test_rows_that_stay_right_and_success_on_common_ground(self, tmp_path):
        a, b = self.runs(tmp_path)
        write_attack(a, ["failed", "success", "success", "skipped", "failed"])
        write_attack(b, ["failed", "failed", "success", "failed", "skipped"])
        d = compare([a], [b])["attack:pwws"]
        assert (d.n, d.a.value, d.b.value, d.only_a, d.only_b) == (5, 0.4, 0.6, 1, 2)
        assert common_success([a], [b], "attack:pwws") == (3, pytest.approx(2 / 3), pytest.approx(1 / 3))

    def test_without_a_row_that_both_get_right(self, tmp_path):
        a, b = self.runs(tmp_path)
        write_attack(a, ["skipped", "failed"])
        write_attack(b, ["success", "skipped"])
        assert common_success([a], [b], "attack:pwws") == (0, None, None)

    def test_what_is_left_out_is_said(self, tmp_path):
        a, b = write_run(tmp_path / "a", self.SETS), write_run(tmp_path / "b", {}, ROSE)
        write_attack(a, ["failed"], "pwws", budget=100)
        write_attack(b, ["failed"], "pwws", budget=200)
        write_attack(a, ["failed"], "textfooler")
        write_attack(b, ["failed"], "textfooler", rows=2)
        write_attack(a, ["failed"], "deepwordbug", about={"max_share": 0.2})
        write_attack(b, ["failed"], "deepwordbug")
        assert compare([a], [b]) == {}
        assert not_compared([a], [b]) == {
            "clean": f"not there for {b}",
            "attack:pwws": "not the same attack: it differs in budget",
            "attack:textfooler": f"not finished for {b}",
            "attack:deepwordbug": "not the same attack: it differs in max_share",
        }
        assert not_compared([b], [a])["attack:deepwordbug"].endswith("it differs in max_share")

    def test_more_examples_on_one_side_hold_those_of_the_other(self, tmp_path):
        a, b = self.runs(tmp_path)
        write_attack(a, ["failed", "success", "success"])
        write_attack(b, ["failed", "failed"])
        d = compare([a], [b])["attack:pwws"]
        assert (d.n, d.a.value, d.b.value) == (2, 0.5, 1.0)

    def test_attacks_on_other_rows_are_refused(self, tmp_path):
        a, b = self.runs(tmp_path)
        for run in (a, b):
            write_attack(run, ["failed"])
        file = b.folder / "attacks/pwws.jsonl"
        file.write_text(file.read_text().replace('"id": "0"', '"id": "other"'))
        with pytest.raises(RunError, match=r"attack:pwws: .* no row in common: attack them anew"):
            compare([a], [b])


class TestRegression:
    """Metrics of a regression: squared errors, of which fewer are better, and no accuracy."""

    GOLD = np.linspace(0, 5, 60)

    def sides(self, path):
        rng = np.random.default_rng(0)
        sets = [
            {name: number_rows(name, self.GOLD, self.GOLD + rng.normal(0, sd, 60)) for name in ("clean", "typos_1")}
            for sd in (1.2, 0.4)
        ]
        return both(path, *sets, labels=())

    def test_the_difference_is_that_of_the_squared_errors(self, tmp_path):
        a, b = self.sides(tmp_path)
        d = compare(a, b)["clean"]
        errors = [
            np.array([(row["prediction"] - row["gold"]) ** 2 for row in side[0].rows("clean")]) for side in (a, b)
        ]
        assert d == difference_of_errors(*errors)
        assert (d.a.value, d.b.value) == (pytest.approx(errors[0].mean()), pytest.approx(errors[1].mean()))
        assert d.value == pytest.approx(errors[0].mean() - errors[1].mean())
        assert d.p == sign_flip_test(errors[0] - errors[1]).two_sided
        assert (d.verdict, compare(b, a)["clean"].verdict) == (1, -1)

    def test_several_seeds(self, tmp_path):
        rng = np.random.default_rng(1)
        mse = {}
        for name, sd, training in (("a", 1.0, {}), ("b", 0.5, ROSE)):
            for seed in (1, 2, 3):
                rows = number_rows("clean", self.GOLD, self.GOLD + rng.normal(0, sd, 60))
                mse[name, seed] = np.mean([(row["prediction"] - row["gold"]) ** 2 for row in rows])
                write_run(tmp_path / f"{name}{seed}", {"clean": rows}, {"seed": seed, **training}, labels=())
        d = compare(*(group(tmp_path, [f"{name}{seed}" for seed in (1, 2, 3)]) for name in "ab"))["clean"]
        a, b = ([mse[name, seed] for seed in (1, 2, 3)] for name in "ab")
        assert d.value == pytest.approx(np.mean(a) - np.mean(b))
        assert d.p == pytest.approx(ttest_rel(a, b).pvalue)
        assert d.p_b_better == pytest.approx(ttest_rel(a, b, alternative="greater").pvalue)


class TestClusters:
    """Forty items from four originals: what looks like ten independent pairs each is one."""

    RIGHT = outcomes(0, 40), outcomes(40, 0)
    ORIGINAL = tuple(f"o{i // 10}" for i in range(40))

    @pytest.mark.parametrize("told", ["both", "a", "b"])
    def test_items_of_one_original_count_once(self, tmp_path, told):
        known = {"original_id": self.ORIGINAL}
        sets = [
            {"advglue": make_rows("advglue", right, **(known if told in (name, "both") else {}))}
            for name, right in zip("ab", self.RIGHT, strict=True)
        ]
        d = compare(*both(tmp_path, *sets))["advglue"]
        assert d.p_b_better == pytest.approx(1 / 16)
        assert d.p_a_better == pytest.approx(1)
        assert d.p_b_better == pytest.approx(sign_test(*self.RIGHT, clusters=self.ORIGINAL).b_better)
        assert d.verdict == 0
        assert d.low == pytest.approx(difference(*self.RIGHT, clusters=self.ORIGINAL).low)

    def test_of_an_attack_too(self, tmp_path):
        about = {"originals": {str(i): original for i, original in enumerate(self.ORIGINAL)}}
        runs = [write_run(tmp_path / name, {}, training) for name, training in (("a", {}), ("b", ROSE))]
        for run, status in zip(runs, ("success", "failed"), strict=True):
            write_attack(run, [status] * 40, about=about)
        d = compare([runs[0]], [runs[1]])["attack:pwws"]
        assert d.p_b_better == pytest.approx(1 / 16)
        assert d.verdict == 0

    def test_over_seeds_too(self, tmp_path):
        rng = np.random.default_rng(0)
        noisy = np.repeat(rng.random((2, 20)) < 0.6, 10, axis=1)
        originals = np.repeat(np.arange(20), 10).tolist()
        widths = {}
        for name, columns in (("plain", {}), ("clustered", {"original_id": originals})):
            for seed in (1, 2):
                for side, right in (("a", outcomes(100, 100)), ("b", noisy[seed - 1])):
                    training = {"seed": seed} | (ROSE if side == "b" else {})
                    rows = make_rows("advglue", right, **columns)
                    write_run(tmp_path / name / f"{side}{seed}", {"advglue": rows}, training)
            d = compare(*(group(tmp_path / name, [f"{side}{seed}" for seed in (1, 2)]) for side in "ab"))["advglue"]
            widths[name] = d.high - d.low
        assert widths["clustered"] > 1.5 * widths["plain"]


def test_two_seeds_with_one_sign_are_no_proof(tmp_path):
    """Both differences positive, but of very different size: the bootstrap interval is above 0, the t-test is not."""
    for seed, better in ((1, 330), (2, 420)):
        write_run(tmp_path / f"a{seed}", {"clean": outcomes(300, 300)}, {"seed": seed})
        write_run(tmp_path / f"b{seed}", {"clean": outcomes(better, 600 - better)}, {"seed": seed, **ROSE})
    d = compare(group(tmp_path, ("a1", "a2")), group(tmp_path, ("b1", "b2")))["clean"]
    assert d.low > 0
    assert d.p_b_better > 0.025
    assert d.verdict == 0


class TestRefusals:
    def test_runs_that_do_not_belong_together(self, tmp_path):
        a = write_run(tmp_path / "a", {"clean": outcomes(1, 1)}, {"seed": 1})
        b = write_run(tmp_path / "b", {"clean": outcomes(1, 1)}, {"seed": 2, **ROSE})
        other = write_run(tmp_path / "other", {"clean": outcomes(1, 1)}, task="another")
        labels = write_run(tmp_path / "labels", {"clean": outcomes(1, 1)}, labels=("no", "yes"))
        for stranger in (other, labels):
            with pytest.raises(RunError, match="compare runs of one task"):
                paired([a], [stranger])
        with pytest.raises(RunError, match="stands on both sides"):
            paired([a], [Run(tmp_path / "b" / ".." / "a")])
        with pytest.raises(RunError, match=r"several seeds of one method, but .* differ in update_mask"):
            open_group(f"{a},{b}")
        with pytest.raises(RunError, match="at least one run"):
            open_group(" , ")
        a2 = write_run(tmp_path / "a2", {"clean": outcomes(1, 1)}, {"seed": 3})
        with pytest.raises(RunError, match="none is on both sides: 1, 3 and 2"):
            paired(open_group(f"{a},{a2}"), [b])
        with pytest.raises(RunError, match="two runs have the same seed"):
            open_group(f"{a},{a}")
        (tmp_path / "b" / "metrics.json").unlink()
        with pytest.raises(RunError, match="no finished run"):
            open_group(str(b))

    def test_a_folder_with_a_comma_in_its_name(self, tmp_path):
        run = write_run(tmp_path / "a,b", {"clean": outcomes(1, 1)})
        assert open_group(str(run)) == [run]

    def test_single_runs_of_other_seeds_are_a_pair(self, tmp_path):
        a = write_run(tmp_path / "a", {"clean": outcomes(1, 1)}, {"seed": 1})
        b = write_run(tmp_path / "b", {"clean": outcomes(1, 1)}, {"seed": 2, **ROSE})
        assert paired([a], [b]) == ([a], [b])

    def test_other_examples(self, tmp_path):
        a, b = both(tmp_path, {"clean": outcomes(3, 1)}, {"clean": outcomes(3, 2)})
        with pytest.raises(RunError, match=r"clean: .* not hold the same examples: 0 only in the first, 1"):
            compare(a, b)

    def test_a_set_without_labels_is_left_out(self, tmp_path):
        hidden = [{**row, "gold": None} for row in make_rows("clean", outcomes(2, 2))]
        sets = {"clean": hidden, "typos_1": outcomes(2, 2)}
        a, b = both(tmp_path, sets, sets)
        assert list(compare(a, b)) == ["typos_1"]
        assert not_compared(a, b) == {"clean": "no row has a label"}


def test_each_side_has_its_own_interval(tmp_path):
    a, b = both(tmp_path, {"clean": outcomes(8, 2)}, {"clean": outcomes(10, 0)})
    d = compare(a, b)["clean"]
    assert isinstance(d.b, Estimate)
    assert (d.b.value, d.b.high) == (1.0, 1.0)
    assert d.b.low == pytest.approx(0.025 ** (1 / 10))  # Clopper-Pearson of 10 of 10


def test_the_intervals_of_the_sides_are_those_of_an_estimate_and_drawn_when_asked_for(tmp_path, monkeypatch):
    """Of many sets few are asked for: each takes as long as that of the difference."""
    rng = np.random.default_rng(0)
    right = {name: rng.random((3, 60)) < p for name, p in (("a", 0.6), ("b", 0.7))}
    for name, rows in right.items():
        for seed, row in enumerate(rows, 1):
            write_run(tmp_path / f"{name}{seed}", {"clean": row, "ocr@0.5": row[::-1]}, {"seed": seed})
    a, b = (open_group(",".join(str(tmp_path / f"{name}{seed}") for seed in (1, 2, 3))) for name in "ab")
    drawn = []

    def draw(*args, **kwargs):
        drawn.append(1)
        return estimate(*args, **kwargs)

    monkeypatch.setattr(statistics, "estimate", draw)
    found = compare(a, b)
    assert [d.a.value for d in found.values()] == pytest.approx([right["a"].mean()] * 2)
    assert drawn == []
    assert found["ocr@0.5"].a == estimate(right["a"][:, ::-1])
    assert dataclasses.asdict(found["clean"].b) == dataclasses.asdict(estimate(right["b"]))
    assert len(drawn) == 2


def test_labels_in_another_order_are_named(tmp_path):
    for name, labels in (("a", ("bad", "good")), ("b", ("good", "bad"))):
        write_run(tmp_path / name, {"clean": outcomes(3, 1)}, labels=labels)
    with pytest.raises(RunError, match=r"with bad, good; .* with good, bad: .* the same labels in the same order"):
        paired(group(tmp_path, ("a",)), group(tmp_path, ("b",)))


def test_adversarial_rows_belong_to_a_seed_but_a_run_without_them_is_of_another_method(tmp_path):
    for seed, rows in ((1, "a"), (2, "b"), (3, None)):
        config = {} if rows is None else {"adversarial_file": f"{rows}.jsonl"}
        identity = {} if rows is None else {"adversarial_file": f"sha256:{rows}"}
        write_run(tmp_path / f"{seed}", {"clean": outcomes(5, 5)}, {"seed": seed}, config=config, **identity)
    assert [run.seed for run in group(tmp_path, "12")] == [1, 2]
    with pytest.raises(RunError, match="differ in method"):
        group(tmp_path, "13")
