"""Means and tests of a table against numpy, scipy and statsmodels on the raw metrics.json, and enumeration."""

import itertools
import json

import numpy as np
import pytest
from scipy.stats import ttest_1samp, ttest_ind, ttest_rel
from statsmodels.stats.multitest import multipletests

from made_runs import outcomes, write_attack, write_run
from many_runs import METHODS, part, write_methods, write_scores
from rosetune.robustness.significance import holm, welch_t_test
from rosetune.runs.aggregate import AVERAGE, DROP, aggregate
from rosetune.runs.averages import as_frame, averages
from rosetune.runs.figures import Column
from rosetune.runs.run import Run, RunError, find_runs

SEEDS = {"vanilla": 5, "r-drop": 5, "rose-first": 3, "static": 5}
TASKS, SETS = ("sst2", "rte"), ("clean", "advglue")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    write_methods(folder, SEEDS)
    return folder


@pytest.fixture(scope="module")
def found(home):
    return aggregate(find_runs(home))


def raw(home, method, task, name):
    """Straight from the files, by seed."""
    values = {}
    for path in sorted((home / task / method).glob("*/metrics.json")):
        values[int(path.parent.name)] = json.loads(path.read_text())["sets"][name]["accuracy"]
    return [values[seed] for seed in sorted(values)]


def measures(home, method):
    """By column the values of each seed: the sets, the average, the drop."""
    values = {Column(task, name): np.array(raw(home, method, task, name)) for task in TASKS for name in SETS}
    clean, robust = ([values[Column(task, name)] for task in TASKS] for name in SETS)
    return values | {
        AVERAGE: np.mean([*clean, *robust], axis=0),
        DROP: np.mean(clean, axis=0) - np.mean(robust, axis=0),
    }


def flips(gains):
    """Every choice of signs, written out."""
    sums = [
        sum(sign * gain for sign, gain in zip(signs, gains, strict=True))
        for signs in itertools.product((1, -1), repeat=len(gains))
    ]
    return sum(total >= sum(gains) - 1e-12 for total in sums) / len(sums)


def test_means_and_spreads_are_those_of_the_raw_files(home, found):
    assert [row.group.name for row in found.rows] == [*SEEDS]
    for row in found.rows:
        expected = measures(home, row.group.name)
        assert {*row.cells} == {*expected}
        for column, values in expected.items():
            cell = row.cells[column]
            assert cell.n == SEEDS[row.group.name]
            assert cell.mean == pytest.approx(np.mean(values))
            assert cell.sd == pytest.approx(np.std(values, ddof=1))


@pytest.mark.parametrize("test", ["welch", "paired"])
def test_tests_are_scipys_and_statsmodels(home, test):
    found, base = aggregate(find_runs(home), test=test), measures(home, "vanilla")
    p, adjusted = [], []
    for row in found.rows:
        if row.group.name == "vanilla":
            assert row.tests == {}
            continue
        for column, values in measures(home, row.group.name).items():
            tested, n = row.tests[column], len(values)
            better = "less" if column == DROP else "greater"
            if test == "welch":
                expected = ttest_ind(values, base[column], equal_var=False, alternative=better).pvalue
            else:
                expected = ttest_rel(values, base[column][:n], alternative=better).pvalue
            difference = (values - base[column][:n]).mean()  # over the common seeds, whatever the test
            assert tested.p == pytest.approx(expected)
            assert tested.difference == pytest.approx(difference)
            assert tested.common == tuple(range(1, n + 1))
            sign = -1 if column == DROP else 1
            assert tested.p_sign_flip == pytest.approx(flips(sign * (values - base[column][:n])))
            p.append(tested.p)
            adjusted.append(tested.p_holm)
    assert len(p) == 3 * 6
    assert adjusted == pytest.approx(multipletests(p, method="holm")[1])


def test_the_limit_of_the_sign_flip_test_is_said(found):
    assert "The sign-flip test's p is at least 0.125 with 3 seeds, 0.03125 with 5 seeds." in found.notes
    assert (
        "rose-first: not the seeds of the baseline. Differences and tests by pairs are over the common seeds. Welch's "
        "t-test, and its marks, are over all seeds of both rows."
    ) in found.notes


@pytest.mark.parametrize(
    ("test", "difference", "then"),
    [
        ("welch", 0.2, "the difference is that of the means, and no test is by pairs"),
        ("paired", None, "nothing is tested"),
    ],
)
def test_without_a_common_seed_it_is_said(tmp_path, test, difference, then):
    for seed, method, clean in ((1, "vanilla", 0.5), (2, "vanilla", 0.7), (3, "r-drop", 0.8)):
        write_scores(tmp_path / f"{seed}", {"clean": clean}, method, seed=seed)
    found = aggregate(find_runs(tmp_path), test=test)
    tested = found.rows[1].tests.get(Column("sst2", "clean"))
    assert (tested and tested.difference) == (difference and pytest.approx(difference))
    assert f"r-drop: where no seed is the baseline's, {then}." in found.notes


@pytest.mark.parametrize("p", [[0.01, 0.04, 0.03, 0.005], [0.5], [0.02, 0.02, 0.9], [1.0, 0.0]])
def test_holm(p):
    assert holm(p) == pytest.approx(multipletests(p, method="holm")[1])


def test_holm_of_nothing_and_of_no_p():
    assert holm([]) == []
    with pytest.raises(ValueError, match=r"a p value lies in \[0, 1\]"):
        holm([0.5, float("nan")])


def test_welch_claims_nothing_without_spread():
    assert welch_t_test([0.5, 0.6], [0.7]) is None
    assert welch_t_test([0.5, 0.5], [0.7, 0.7]) is None
    # Of one side's spread alone it is the test of that mean against a number.
    expected = ttest_1samp([0.7, 0.8], 0.5, alternative="greater").pvalue
    assert welch_t_test([0.5, 0.5], [0.7, 0.8]) == pytest.approx(expected)
    with pytest.raises(ValueError, match="not finite"):
        welch_t_test([0.5, float("nan")], [0.7, 0.8])


def test_the_frame_has_a_line_per_figure(home, found):
    frame = as_frame(found)
    assert len(frame) == 4 * 6
    line = frame[(frame.row == "r-drop") & (frame.task == "rte") & (frame.set == "advglue")].iloc[0]
    assert line["mean"] == pytest.approx(np.mean(raw(home, "r-drop", "rte", "advglue")))
    assert (line.model, line.n, line.metric, line.seeds, line.constant) == (
        "roberta-base",
        5,
        "accuracy",
        "1 2 3 4 5",
        0.5,
    )
    assert line.baseline == "vanilla"
    assert frame[(frame.row == "vanilla")].p.isna().all()
    assert [*frame[frame.task.isna()].set.unique()] == ["average", "drop"]


def test_the_frame_of_runs_has_the_notes_with_it(home, found):
    frame = averages(find_runs(home), baseline="vanilla")
    assert frame.equals(as_frame(found))
    assert frame.attrs["notes"] == found.notes


# --- which seeds, which tasks -------------------------------------------------------------------------------------


def test_an_average_is_over_the_seeds_that_have_all_of_it(tmp_path):
    for task, seeds in (("sst2", (1, 2, 3)), ("rte", (2, 3, 4))):
        for seed in seeds:
            write_scores(tmp_path / task / f"{seed}", {"clean": seed / 10, "advglue": seed / 20}, seed=seed, task=task)
    found = aggregate(find_runs(tmp_path))
    cells = found.rows[0].cells
    assert cells[AVERAGE].seeds == (2, 3)
    assert cells[AVERAGE].values == pytest.approx((0.15, 0.225))
    assert cells[DROP].values == pytest.approx((0.1, 0.15))
    assert any("over the seeds that all figures have" in note for note in found.notes)


def test_a_row_without_a_figure_has_no_average(tmp_path):
    write_methods(tmp_path, {"vanilla": 2})
    write_scores(tmp_path / "more", {"clean": 0.9, "advglue": 0.3}, "r-drop", task="sst2")
    rows = {row.group.name: row for row in aggregate(find_runs(tmp_path)).rows}
    assert AVERAGE in rows["vanilla"].cells
    assert AVERAGE not in rows["r-drop"].cells


def test_a_task_without_a_robust_set_does_not_count_in_the_average(tmp_path):
    write_scores(tmp_path / "a", {"clean": 0.9, "advglue": 0.3})
    write_scores(tmp_path / "b", {"clean": 0.5}, task="mrpc")
    found = aggregate(find_runs(tmp_path))
    assert found.averaged == ("sst2",)
    assert found.rows[0].cells[AVERAGE].mean == pytest.approx(0.6)
    assert "Average and drop are without mrpc, where no robust set is shown." in found.notes


def test_several_robust_sets_weigh_as_one(tmp_path):
    write_scores(tmp_path / "a", {"clean": 0.9, "advglue": 0.3, "typos_1": 0.7, "advglue_originals": 0.1})
    found = aggregate(find_runs(tmp_path), sets=("clean", "advglue", "noise"))
    cells = found.rows[0].cells
    assert [column.set for column in found.columns] == ["clean", "typos_1", "advglue", "average", "drop"]
    assert cells[AVERAGE].mean == pytest.approx((0.9 + (0.3 + 0.7) / 2) / 2)
    assert cells[DROP].mean == pytest.approx(0.9 - (0.3 + 0.7) / 2)


def test_without_a_robust_set_there_is_neither_average_nor_drop(tmp_path):
    for method, clean in (("vanilla", 0.8), ("r-drop", 0.9)):
        for seed in (1, 2):
            write_scores(tmp_path / f"{method}-{seed}", {"clean": clean + seed / 100}, method, seed=seed)
    found = aggregate(find_runs(tmp_path), sets=("clean", "advglue"))
    only = Column("sst2", "clean")
    assert (found.columns, found.averaged) == ((only,), ())
    assert [[*row.cells] for row in found.rows] == [[only], [only]]
    assert [*found.rows[1].tests] == [only]
    assert "No run has accuracy on advglue." in found.notes
    assert "No average and no drop of sst2, where no robust set is shown." in found.notes
    with pytest.raises(RunError, match="average and drop need a clean and a robust set of one task"):
        aggregate(find_runs(tmp_path), over_tasks=True)


@pytest.mark.parametrize("aside", ["file_test3", "advglue_originals"])
def test_what_is_neither_clean_nor_robust_is_a_column_outside_the_average(tmp_path, aside):
    write_scores(tmp_path / "a", {"clean": 0.9, "advglue": 0.3, aside: 0.1})
    write_scores(tmp_path / "b", {"clean": 0.8, "advglue": 0.4}, "r-drop")
    found = aggregate(find_runs(tmp_path), sets=("clean", "advglue", aside))
    assert found.rows[0].cells[Column("sst2", aside)].mean == pytest.approx(0.1)
    for row, clean, robust in zip(found.rows, (0.9, 0.8), (0.3, 0.4), strict=True):
        assert row.cells[AVERAGE].mean == pytest.approx((clean + robust) / 2)
        assert row.cells[DROP].mean == pytest.approx(clean - robust)
    assert any(note.endswith("is neither clean nor robust, and outside average and drop.") for note in found.notes)
    assert not any(note.startswith("No average") for note in found.notes)


def test_a_file_alone_is_no_robust_set(tmp_path):
    write_scores(tmp_path / "a", {"clean": 0.9, "file_test3": 0.1})
    found = aggregate(find_runs(tmp_path))
    assert [column.set for column in found.columns] == ["clean", "file_test3"]
    assert "No average and no drop of sst2, where no robust set is shown." in found.notes


def test_where_nothing_has_advglue_the_other_robust_sets_are_shown(tmp_path):
    write_scores(tmp_path / "a", {"clean": 0.9, "typos_1": 0.7, "ocr@0.2": 0.5})
    assert [column.set for column in aggregate(find_runs(tmp_path)).columns] == ["clean", "typos_1", "average", "drop"]


def test_figures_of_other_examples_are_not_averaged(tmp_path):
    for seed, n in ((1, 100), (2, 100), (3, 90)):
        write_scores(tmp_path / f"{seed}", {"clean": 0.9, "advglue": part(0.3, n)}, seed=seed)
    found = aggregate(find_runs(tmp_path))
    assert found.rows[0].cells[Column("sst2", "advglue")].seeds == (1, 2)
    assert any(note.startswith("1 figure on AdvGLUE (sst2) left out: of other examples") for note in found.notes)


def test_attacks_are_sets_and_other_attacks_are_kept_apart(tmp_path):
    runs = [write_scores(tmp_path / f"{seed}", {"clean": 0.9}, seed=seed) for seed in (1, 2, 3)]
    for run, statuses, budget in zip(runs, ("fffs", "ffss", "ssss"), (100, 100, 50), strict=True):
        write_attack(run, [{"f": "failed", "s": "success"}[letter] for letter in statuses], budget=budget)
    found = aggregate([Run(run.folder) for run in runs], sets=("clean", "attack"))
    cell = found.rows[0].cells[Column("sst2", "attack:pwws")]
    assert (cell.seeds, cell.values) == ((1, 2), (0.75, 0.5))


# --- metrics ------------------------------------------------------------------------------------------------------


def test_another_metric(tmp_path):
    for seed, f1 in ((1, 0.5), (2, 0.7)):
        write_scores(tmp_path / f"{seed}", {"clean": part(0.9, f1=f1, calibration={"ece": f1 / 10})}, seed=seed)
    clean = Column("sst2", "clean")
    assert aggregate(find_runs(tmp_path), metric=("f1",)).rows[0].cells[clean].mean == pytest.approx(0.6)
    assert aggregate(find_runs(tmp_path), metric=("ece",)).rows[0].cells[clean].mean == pytest.approx(0.06)


def test_of_each_task_the_first_metric_that_it_has(tmp_path):
    number = {"n": 9, "mse": 1.5, "low": 1.0, "high": 2.0, "pearson": 0.4, "spearman": None, "constant": {"mse": 2.0}}
    write_scores(tmp_path / "a", {"clean": 0.9, "typos_1": 0.7})
    write_scores(tmp_path / "b", {"clean": number, "typos_1": {**number, "pearson": 0.2}}, task="stsb")
    found = aggregate(find_runs(tmp_path), metric=("accuracy", "pearson"))
    assert found.metrics == {"sst2": "accuracy", "stsb": "pearson"}
    assert found.rows[0].cells[AVERAGE].mean == pytest.approx((0.9 + 0.7 + 0.4 + 0.2) / 4)
    undefined = aggregate(find_runs(tmp_path), metric=("accuracy", "spearman"))
    assert Column("stsb", "clean") not in undefined.rows[0].cells
    assert "On clean (stsb) the metric is undefined for 1 of the runs." in undefined.notes


def test_less_may_be_better(tmp_path):
    for method, base in (("vanilla", 2.0), ("r-drop", 1.0)):
        for seed in (1, 2, 3):
            number = {"n": 9, "mse": base + seed / 10, "pearson": 0.4, "constant": {"mse": 2.0}}
            write_scores(tmp_path / method / f"{seed}", {"clean": number}, method, seed=seed, task="stsb")
    tested = aggregate(find_runs(tmp_path), metric=("mse",)).rows[1].tests[Column("stsb", "clean")]
    assert tested.difference == pytest.approx(-1.0)
    assert tested.p < 0.01
    assert tested.p_sign_flip == pytest.approx(0.125)


# --- asked for what is not there ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metric": ("acuracy",)}, "no metric is called 'acuracy': did you mean accuracy"),
        ({"metric": ("accuracy", "mse")}, "of which either more or less is better"),
        ({"metric": ()}, "metrics must be some of"),
        ({"metric": ("pearson",)}, "no run has pearson on clean, advglue"),
        ({"sets": ("clen",)}, "no run was evaluated on clen: did you mean clean"),
        ({"baseline": "vanila"}, "no row is called 'vanila': did you mean vanilla"),
        ({"told": ("uper",)}, "no run was given the option uper"),
        ({"test": "z"}, "no test is called 'z': choose welch or paired"),
        ({"held_out": True}, "no run is left to show: Left out, since they are no trial runs"),
    ],
)
def test_what_is_not_there(home, options, message):
    with pytest.raises(RunError, match=message) as caught:
        aggregate(find_runs(home), **options)
    assert "\n" not in str(caught.value)


def test_a_model_without_the_baseline_is_said(tmp_path):
    write_methods(tmp_path / "a", {"vanilla": 2, "r-drop": 2})
    write_methods(tmp_path / "b", {"r-drop": 2}, model="other/bert")
    found = aggregate(find_runs(tmp_path), baseline="vanilla")
    assert found.baselines == {"roberta-base": "vanilla"}
    said = "it has no row vanilla, only r-drop; `rosetune compare A B` sets two models against each other."
    assert f"Nothing is tested for bert: {said}" in found.notes
    assert aggregate(find_runs(tmp_path), baseline="none").baselines == {}


def test_models_from_elsewhere_have_a_baseline_to_name(tmp_path):
    """A model and itself behind a normalisation: the note names what the flag takes, and then a row is tested."""
    for name, more in (("bare", {}), ("clean", {"normalize": ["leet"]})):
        config = {"given": True, "model_name_or_path": "guard:predict", **more}
        sets = {"clean": outcomes(9, 1), "typos_1": outcomes(6, 4)}
        write_run(tmp_path / name, sets, metrics=True, config=config, given=True, **more)
    runs = find_runs(tmp_path)
    said = "it has no row vanilla; name one with --baseline given or given+normalize."
    assert f"Nothing is tested for guard:predict: {said}" in aggregate(runs).notes
    found = aggregate(runs, baseline="given")
    assert found.baselines == {"guard:predict": "given"}
    assert {row.group.name for row in found.rows if row.tests} == {"given+normalize"}


def test_of_several_baselines_one_must_be_named(tmp_path):
    for rate in (1e-5, 2e-5):
        for seed in (1, 2):
            write_scores(tmp_path / f"{rate}-{seed}", {"clean": 0.9}, {"learning_rate": rate}, seed=seed)
    found = aggregate(find_runs(tmp_path))
    assert any("2 rows of vanilla: name one with --baseline" in note for note in found.notes)
    with pytest.raises(RunError, match="2 rows of vanilla"):
        aggregate(find_runs(tmp_path), baseline="vanilla")
    named = aggregate(find_runs(tmp_path), baseline="vanilla (learning_rate=1e-05)")
    assert [bool(row.tests) for row in named.rows] == [False, True]


def test_the_row_that_is_proposed_is_the_one_of_most_runs(tmp_path):
    for rate, seeds in ((1e-5, 1), (2e-5, 3), (3e-5, 2)):
        for seed in range(seeds):
            write_scores(tmp_path / f"{rate}-{seed}", {"clean": 0.9}, {"learning_rate": rate}, seed=seed)
    notes = aggregate(find_runs(tmp_path)).notes
    assert any("--baseline 'vanilla (learning_rate=2e-05)'" in note for note in notes)


def test_a_single_seed_is_shown_and_not_tested(tmp_path):
    write_scores(tmp_path / "a", {"clean": 0.9})
    write_scores(tmp_path / "b", {"clean": 0.8}, "r-drop")
    row = aggregate(find_runs(tmp_path)).rows[1]
    cell, tested = row.cells[Column("sst2", "clean")], row.tests[Column("sst2", "clean")]
    assert (cell.n, cell.sd) == (1, None)
    assert (tested.p, tested.p_holm, tested.p_sign_flip) == (None, None, 1.0)


def test_trial_runs_are_never_mixed_in(tmp_path):
    write_scores(tmp_path / "a", {"clean": 0.9})
    write_scores(tmp_path / "b", {"clean": 0.1}, seed=2, config={"held_out": 0.1}, held_out=0.1)
    found = aggregate(find_runs(tmp_path))
    assert found.rows[0].cells[Column("sst2", "clean")].values == (0.9,)
    assert "Trial runs, evaluated on held-out training rows, left out (--held_out shows them): 1." in found.notes
    trials = aggregate(find_runs(tmp_path), held_out=True)
    assert trials.rows[0].cells[Column("sst2", "clean")].values == (0.1,)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1.5, -0.1, "0.9", True, [0.9]])
def test_a_figure_that_is_none_leaves_its_run_out(tmp_path, value):
    write_scores(tmp_path / "a", {"clean": 0.9, "advglue": 0.3})
    write_scores(tmp_path / "b", {"clean": 0.8, "advglue": value}, seed=2)
    found = aggregate(find_runs(tmp_path))
    assert {cell.seeds for cell in found.rows[0].cells.values()} == {(1,)}
    (said,) = [note for note in found.notes if "left out" in note]
    assert str(tmp_path / "b") in said
    assert f"accuracy on advglue is {value!r} in metrics.json: evaluate again" in said


def test_methods_of_the_tests_are_called_so(tmp_path):
    for name in METHODS:
        assert write_scores(tmp_path / name, {"clean": 0.9}, name).method == name


def test_trials_on_other_held_out_rows_are_other_rows(tmp_path):
    for share in (0.1, 0.2):
        write_scores(tmp_path / f"{share}", {"clean": share}, config={"held_out": share}, held_out=share)
    found = aggregate(find_runs(tmp_path), held_out=True)
    assert [row.group.name for row in found.rows] == ["vanilla (held_out=0.1)", "vanilla (held_out=0.2)"]


@pytest.mark.parametrize("calibration", [5, "ece", ["ece"], True])
def test_a_foreign_calibration_leaves_its_run_out(tmp_path, calibration):
    write_scores(tmp_path / "a", {"clean": part(0.9, calibration={"ece": 0.1})})
    write_scores(tmp_path / "b", {"clean": part(0.8, calibration=calibration)}, seed=2)
    for metric, value in (("accuracy", 0.9), ("ece", 0.1)):
        found = aggregate(find_runs(tmp_path), metric=(metric,))
        assert found.rows[0].cells[Column("sst2", "clean")].values == (value,)
        (said,) = [note for note in found.notes if "left out" in note]
        assert str(tmp_path / "b") in said
        assert "metrics.json is damaged at clean: evaluate again" in said
