"""A gate: each limit where it holds and where it does not, and what it refuses to judge."""

import json
from pathlib import Path
from typing import Any

import pytest

import rosetune
from made_runs import LABELS, ROSE, make_rows, outcomes, write_attack, write_json, write_lines, write_run
from rosetune.report.measures import further_grids
from rosetune.runs.gate import Verdict
from rosetune.runs.metrics import run_metrics
from rosetune.runs.run import Run, RunError


def scored(name: str, right: Any, strength: float = 1.0) -> list[dict[str, Any]]:
    """Rows whose confidence grows with their number, so that a threshold can cut between them."""
    rows = make_rows(name, right)
    for i, row in enumerate(rows):
        said = LABELS.index(row["prediction"])
        row["logits"] = [strength + i / 100 if label == said else 0.0 for label in (0, 1)]
    return rows


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Clean 18 of 20 right; with typing errors 15, of which 14 were right before; four of ten withstand the attack."""
    noisy = outcomes(14, 4, 1, 1)
    sets = {"clean": outcomes(18, 2), "typos_1": noisy, "ocr@0.5": outcomes(4, 16)}
    made = write_run(tmp_path / "run", sets, ROSE)
    write_attack(made, ["failed"] * 4 + ["success"] * 4 + ["skipped"] * 2, "deepwordbug")
    return Run.open(made.folder)


def only(verdict: Verdict, limit: str) -> dict[str, tuple[float, bool]]:
    """What was measured, and whether it holds, by set."""
    assert {check.limit for check in verdict.checks} == {limit}
    return {check.set: (round(check.value, 6), check.holds) for check in verdict.checks}


@pytest.mark.parametrize(
    ("limit", "loose", "tight", "measured"),
    [
        ("min_accuracy", 0.9, 0.91, {"clean": 0.9}),
        ("min_robust_accuracy", 0.75, 0.76, {"typos_1": 0.75}),
        ("min_accuracy_under_attack", 0.4, 0.41, {"attack:deepwordbug": 0.4}),
        ("max_success_rate", 0.5, 0.49, {"attack:deepwordbug": 0.5}),
        ("max_drop", 15, 14.9, {"typos_1": 15.0}),
        ("max_flip_rate", 0.25, 0.24, {"typos_1": 0.25}),  # four that were right break, one that was wrong mends
    ],
)
def test_each_limit_holds_and_fails(
    run: Run, limit: str, loose: float, tight: float, measured: dict[str, float]
) -> None:
    holds, fails = rosetune.gate(run.folder, **{limit: loose}), rosetune.gate(run, **{limit: tight})
    assert only(holds, limit) == {name: (value, True) for name, value in measured.items()}
    assert only(fails, limit) == {name: (value, False) for name, value in measured.items()}
    assert (holds.passed, fails.passed) == (True, False)
    for check in fails.checks:
        assert check.low <= check.value <= check.high
        assert not check.sure  # so few texts decide nothing


def test_recall_is_judged_at_the_threshold_of_the_run(tmp_path: Path) -> None:
    sets = {"clean": scored("clean", outcomes(38, 2)), "typos_1": scored("typos_1", outcomes(30, 10))}
    folder = write_run(tmp_path / "run", sets).folder
    write_json(folder / "measures.json", {"false_positive_rate": 0.05})
    write_json(folder / "metrics.json", run_metrics(folder, LABELS))
    verdict = rosetune.gate(folder, min_recall=0.9)
    # Rows with odd numbers are "good": 20, of which 1 is taken for "bad" on clean texts, and 5 of the noisy ones.
    assert only(verdict, "min_recall") == {"clean": (0.95, True), "typos_1": (0.75, False)}
    assert "the clean set itself" in " ".join(verdict.notes)
    # A threshold that fits the judged texts settles nothing, however far off the limit is.
    assert verdict.notes[0].startswith("NOT SURE: min_recall")
    assert not any(check.sure for check in rosetune.gate(folder, min_recall=0.01).checks)
    assert all(check.flattered for check in verdict.checks)


def detector(folder: Path, clean: list[float], noisy: list[float], validation: list[float]) -> Path:
    """A run that tells "good" by its log-odds; even rows are "bad", odd ones "good"."""

    def rows(name: str, odds: list[float]) -> list[dict[str, Any]]:
        golds = [LABELS[i % 2] for i in range(len(odds))]
        said = [LABELS[int(value > 0)] for value in odds]
        return [
            {"set": name, "id": str(i), "gold": gold, "prediction": label, "logits": [0.0, value]}
            for i, (gold, label, value) in enumerate(zip(golds, said, odds, strict=True))
        ]

    run = write_run(folder, {"clean": rows("clean", clean), "typos_1": rows("typos_1", noisy)})
    write_lines(folder / "predictions" / "validation" / "validation.jsonl", rows("validation", validation))
    write_json(folder / "measures.json", {"false_positive_rate": 0.1})
    write_json(folder / "metrics.json", run_metrics(folder, LABELS))
    return run.folder


def test_false_alarms_are_not_judged_where_their_threshold_was_chosen(tmp_path: Path) -> None:
    """There the limit holds by construction; on noisy texts it does not."""
    sets = {"clean": scored("clean", outcomes(38, 2)), "typos_1": scored("typos_1", outcomes(30, 10))}
    folder = write_run(tmp_path / "run", sets).folder
    write_json(folder / "metrics.json", run_metrics(folder, LABELS))
    verdict = rosetune.gate(folder, max_false_positive_rate=0.05)
    assert {check.set for check in verdict.checks} == {"typos_1"}
    assert "not on clean" in " ".join(verdict.notes)
    assert "the threshold was chosen on" in " ".join(verdict.notes)
    with pytest.raises(RunError, match=r"max_false_positive_rate cannot be judged of .*: not on clean, where"):
        rosetune.gate(folder, max_false_positive_rate=0.05, sets=["clean"])


def test_noise_cannot_buy_recall_with_false_alarms(tmp_path: Path) -> None:
    """With typing errors the model calls every text positive: recall is perfect, and so is the rate of alarms."""
    folder = detector(tmp_path / "run", [-2.0, 2.0] * 40, [3.0, 3.0] * 40, [-2.0, 2.0] * 40)
    recall = rosetune.gate(folder, min_recall=0.9)
    assert only(recall, "min_recall") == {"clean": (1.0, True), "typos_1": (1.0, True)}
    assert {check.set: check.false_positive_rate for check in recall.checks} == {"clean": 0.0, "typos_1": 1.0}
    assert "give max_false_positive_rate beside it" in " ".join(recall.notes)
    alarms = rosetune.gate(folder, max_false_positive_rate=0.2)
    assert only(alarms, "max_false_positive_rate") == {"clean": (0.0, True), "typos_1": (1.0, False)}
    both = rosetune.gate(folder, min_recall=0.9, max_false_positive_rate=0.2)
    assert [(check.limit, check.set) for check in both.failed] == [("max_false_positive_rate", "typos_1")]
    # The threshold was chosen on other rows, so that far from the limit the outcome is sure.
    assert all(check.sure and not check.flattered for check in both.checks)
    (note,) = both.notes
    assert note.startswith("min_recall and max_false_positive_rate, of good: The threshold, a probability of ")
    # Of 80 rows of validation half are "bad"; a tenth of 40 can be told from none, and no score is the threshold's.
    told = "was chosen at 10.0% false positives on 40 rows of other classes (validation rows, which are neither"
    assert told in note
    assert note.endswith("and is the same on every set.")


def test_a_gate_repeats_what_the_evaluation_said_of_the_threshold(tmp_path: Path) -> None:
    """Few rows to choose it on, and rows that have its very score, which do not count as found."""
    folder = detector(tmp_path / "run", [-2.0, 2.0] * 8, [-2.0, -2.0] * 8, [-2.0, 2.0] * 5)
    verdict = rosetune.gate(folder, min_recall=0.2, max_false_positive_rate=0.5)
    (note,) = verdict.notes
    # Five rows are "bad": one false positive in ten of them is none. All "good" rows with typing errors score -2.
    assert "10.0% false positives on 5 rows of other classes" in note
    assert "Of 5 such rows 10.0% cannot be told from none: take more." in note
    assert "Rows with exactly this score do not count as found: 8 of 8 on typing errors 1." in note
    metrics = Run.open(folder).metrics
    (grid, *_) = further_grids(metrics["sets"])
    assert note.endswith(str(grid.caption))


def test_the_worst_group_is_held_to_a_limit(tmp_path: Path) -> None:
    """Of three groups the smallest is the worst; it counts only where so few rows may."""
    rows = make_rows("clean", [*[1] * 36, *[0] * 4, *[1] * 24, *[0] * 16, *[0] * 5])
    groups = [*["mail"] * 40, *["forum"] * 40, *["chat"] * 5]
    run = write_run(tmp_path / "run", {"clean": rows, "typos_1": make_rows("typos_1", [1] * 85)})
    refused("`rosetune evaluate", run, min_group_accuracy=0.5)
    known = {str(i): group for i, group in enumerate(groups)}
    features = {"clean": {"words": dict.fromkeys(known, 4), "groups": {"source": known}}}
    write_json(run.folder / "predictions" / "features.json", features)
    write_json(run.folder / "measures.json", {"group_column": "source"})
    write_json(run.folder / "metrics.json", run_metrics(run.folder, LABELS))
    verdict = rosetune.gate(run.folder, min_group_accuracy=0.6)
    assert only(verdict, "min_group_accuracy") == {"clean": (0.6, True), "typos_1": (1.0, True)}
    assert verdict.checks[0].group == "source forum"
    assert not rosetune.gate(run.folder, min_group_accuracy=0.61).passed
    assert verdict.notes == (
        "min_group_accuracy: groups of fewer than 30 labelled rows do not count: chat (5), on clean and typing "
        "errors 1.",
    )
    assert rosetune.gate(run.folder, min_group_accuracy=0.6, group_rows=5).notes == ()
    small = rosetune.gate(run.folder, min_group_accuracy=0.6, group_rows=5).failed
    assert [(check.group, check.n, check.value) for check in small] == [("source chat", 5, 0.0)]
    # Both sets have the same groups, of which mail and forum have 40 rows: one clause for both.
    said = (
        f"min_group_accuracy cannot be judged of {run}: not on clean and on typing errors 1, where no group has 41 "
        "labelled rows (the largest, forum, has 40): lower --group_rows"
    )
    refused(said, run.folder, min_group_accuracy=0.5, group_rows=41)
    refused("group_rows", run.folder, min_group_accuracy=0.5, group_rows=0)


def test_a_set_whose_rows_are_gone_passes_nothing(tmp_path: Path) -> None:
    sets = {"clean": outcomes(18, 2), "typos_1": outcomes(2, 18), "typos_2": outcomes(18, 2)}
    run = write_run(tmp_path / "run", sets, metrics=True)
    whole = write_run(tmp_path / "whole", sets, ROSE, metrics=True)
    assert not rosetune.gate(run.folder, max_drop=5).passed
    lost = run.folder / "predictions" / "typos_1.jsonl"
    lost.write_text("")
    refused(f"but {lost} is empty: remove it, then `rosetune evaluate {run} --sets noise`", run.folder, max_drop=5)
    lost.unlink()
    said = f"metrics.json lists typing errors 1, but {lost} is gone: `rosetune evaluate {run} --sets noise` makes it"
    refused(said, run.folder, max_drop=5)
    refused(said, whole.folder, baseline=run.folder)
    refused(said, run.folder, baseline=whole.folder)
    (run.folder / "predictions" / "clean.jsonl").unlink()
    refused("lists clean, but", run.folder, max_drop=5)


@pytest.mark.parametrize("before", [False, True])
def test_a_set_that_lost_some_of_its_rows_passes_nothing(tmp_path: Path, before: bool) -> None:
    """Rows without a label were never counted."""
    hidden = make_rows("typos_1", outcomes(16, 4))
    hidden[3]["gold"] = None
    sets = {"clean": outcomes(18, 2), "typos_1": hidden}
    run = write_run(tmp_path / "run", sets, metrics=True, before=before)
    whole = write_run(tmp_path / "whole", sets, ROSE, metrics=True)
    assert rosetune.gate(run.folder, min_accuracy=0.9, min_robust_accuracy=0.7).passed
    path = run.folder / ("predictions.jsonl" if before else "predictions/typos_1.jsonl")
    rows = path.read_text().splitlines(keepends=True)
    path.write_text("".join(rows[:-4]))  # the wrong ones
    said = f"metrics.json counts 19 labelled rows of typing errors 1, but {path} holds 15: remove it, then `rosetune"
    refused(said, run.folder, min_robust_accuracy=0.9)
    refused(said, whole.folder, baseline=run.folder)
    refused(said, run.folder, baseline=whole.folder)


def test_an_attack_that_lost_some_of_its_rows_is_no_result(run: Run) -> None:
    path = run.folder / "attacks" / "deepwordbug.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:5]))
    refused("is not finished (4 of 10 rows)", run.folder, min_accuracy_under_attack=0.4)


def test_sets_are_named_by_name_kind_or_noise(run: Run) -> None:
    assert only(rosetune.gate(run, max_drop=70, sets="ocr"), "max_drop") == {"ocr@0.5": (70.0, True)}
    both = rosetune.gate(run, max_drop=20, sets=["noise_curve", "typos_1"])
    assert only(both, "max_drop") == {"typos_1": (15.0, True), "ocr@0.5": (70.0, False)}
    assert [check.set for check in both.failed] == ["ocr@0.5"]


def test_an_attack_is_read_at_a_number_of_words(run: Run) -> None:
    """Each success changes one of four words: within one word it counts, within a fifth of the words it does not."""
    assert only(rosetune.gate(run, min_accuracy_under_attack=0.4, words=1), "min_accuracy_under_attack") == {
        "attack:deepwordbug": (0.4, True)
    }
    verdict = rosetune.gate(run, max_success_rate=0.0, words="20%")
    assert only(verdict, "max_success_rate") == {"attack:deepwordbug": (0.0, True)}
    assert verdict.words == "20%"


def test_items_of_advglue_are_held_to_their_originals(tmp_path: Path) -> None:
    items, originals = make_rows("advglue", outcomes(5, 5)), make_rows("advglue_originals", outcomes(8, 0))
    run = write_run(tmp_path / "a", {"clean": outcomes(9, 1), "advglue": items, "advglue_originals": originals})
    verdict = rosetune.gate(run, max_drop=37.5, max_flip_rate=0.375)
    found = {check.limit: (check.n, round(check.value, 6)) for check in verdict.checks}
    assert found == {"max_drop": (8, 37.5), "max_flip_rate": (8, 0.375)}
    alone = write_run(tmp_path / "b", {"clean": outcomes(9, 1), "advglue": items, "typos_1": outcomes(9, 1)})
    verdict = rosetune.gate(alone, max_drop=50)
    assert {check.set for check in verdict.checks} == {"typos_1"}
    assert "AdvGLUE" in verdict.notes[0]


def test_a_baseline_is_a_rule_and_a_limit(tmp_path: Path) -> None:
    last = write_run(tmp_path / "last", {"clean": outcomes(90, 10), "typos_1": outcomes(80, 20)})
    worse = write_run(tmp_path / "worse", {"clean": outcomes(89, 11), "typos_1": outcomes(60, 40)}, ROSE)
    verdict = rosetune.gate(worse, baseline=last)
    assert only(verdict, "baseline") == {"clean": (1.0, True), "typos_1": (20.0, False)}
    assert rosetune.gate(last, baseline=worse).passed
    limited = rosetune.gate(worse, baseline=last, max_decline=0.5)
    assert {(c.limit, c.set) for c in limited.failed} == {
        *(("max_decline", "clean"), ("max_decline", "typos_1"), ("baseline", "typos_1"))
    }
    assert [c.limit for c in limited.checks] == ["max_decline", "max_decline", "baseline", "baseline"]
    assert rosetune.gate(worse, baseline=last, max_decline=1, sets="clean").passed


def refused(message: str, *words: Any, **limits: Any) -> None:
    with pytest.raises(RunError) as error:
        rosetune.gate(*words, **limits)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_what_is_missing_is_named_with_the_command_that_makes_it(run: Run, tmp_path: Path) -> None:
    bare = write_run(tmp_path / "bare", {"clean": outcomes(18, 2)})
    refused(f"`rosetune evaluate {bare} --sets noise` makes some", bare, max_drop=5)
    refused(f"`rosetune attack {bare} --attack deepwordbug` makes one", bare, min_accuracy_under_attack=0.5)
    glue = write_run(tmp_path / "glue", {"clean": outcomes(18, 2)}, task="sst2")
    refused(f"`rosetune evaluate {glue} --sets advglue` makes it", glue, max_drop=5, sets="advglue")
    refused("--sets noise_curve --noises leetspeak` makes it", bare, max_drop=5, sets="leetspeak")
    refused("--sets noise_curve` makes it", bare, max_drop=5, sets="noise_curve")
    refused(f"`rosetune attack {bare} --attack pwws` makes it", bare, max_success_rate=0.5, sets="pwws")
    refused("of which --sets names none: name typos_1 there", run, max_drop=5, sets="clean")
    refused("a gate judges a run on disk, not a dict", {"clean": 1.0}, min_accuracy=0.5)
    refused("choose among clean", bare, max_drop=5, sets="nois")
    refused(f"`rosetune evaluate {bare} --sets noise` makes it", run, baseline=bare, sets="typos_1")
    made = f"`rosetune attack {bare} --attack deepwordbug --examples 10 --budget 100` makes it"
    refused(made, run, baseline=bare, sets="deepwordbug")
    # What only the baseline has is missing too: a run that was asked less must not pass for it.
    refused(f"`rosetune evaluate {bare} --sets noise` makes it", bare, baseline=run)


def test_what_is_there_and_cannot_be_judged_is_told_from_what_is_missing(run: Run, tmp_path: Path) -> None:
    """To evaluate or attack again would mend neither rows without labels nor an attack that had nothing to break."""
    sets = {name: make_rows(name, outcomes(8, 2)) for name in ("clean", "typos_1")}
    for row in (row for rows in sets.values() for row in rows):
        row["gold"] = None
    unlabelled = write_run(tmp_path / "unlabelled", sets)
    refused("not on clean, where no row has a label", unlabelled, min_accuracy=0.5)
    refused("not on typing errors 1, where no row has a label", unlabelled, min_robust_accuracy=0.5)
    refused("not on typing errors 1, where there are no unperturbed texts with labels", unlabelled, max_drop=5)
    assert only(rosetune.gate(unlabelled, max_flip_rate=0), "max_flip_rate") == {"typos_1": (0.0, True)}
    write_attack(unlabelled, ["skipped"] * 3, "deepwordbug")
    wrong = Run.open(unlabelled.folder)
    refused("not under deepwordbug, where no row was right before", wrong, max_success_rate=0.5)
    refused("sets names no set", run, max_drop=5, sets=[])


def test_an_attack_that_was_killed_is_no_result(run: Run) -> None:
    write_attack(run, ["failed"], "pwws", rows=9)
    half = Run.open(run.folder)
    refused("the attack pwws is not finished", half, min_accuracy_under_attack=0.1)
    refused("1 of 9 rows", half, max_success_rate=0.9)
    assert rosetune.gate(half, min_accuracy=0.5).passed  # which looks at no attack
    assert rosetune.gate(half, min_accuracy_under_attack=0.1, sets="deepwordbug").passed


def test_wrong_use(run: Run, tmp_path: Path) -> None:
    refused("a gate without a limit lets everything through", run)
    refused("--baseline", run, max_decline=1)
    refused("must be a share from 0 to 1, such as 0.9", run, min_accuracy=90)
    refused("number of points from 0 to 100", run, max_drop=-1)
    refused("changed words", run, max_success_rate=0.5, words="many")
    refused("there is no folder", tmp_path / "gone", min_accuracy=0.5)
    refused("compare two different runs", run, baseline=run)
    three = write_run(tmp_path / "three", {"clean": outcomes(3, 1)}, labels=("a", "b", "c"))
    refused("--positive_label LABEL", three, min_recall=0.5)
    numbers = write_run(tmp_path / "numbers", {}, labels=())
    refused("regression", numbers, min_accuracy=0.5)


def attacked(folder: Path, queries: int) -> Path:
    """Ten rows that withstood an attack with a budget of 100, after so many queries each."""
    made = write_run(folder, {"clean": outcomes(10)}, metrics=True)
    write_attack(made, ["failed"] * 10, "deepwordbug")
    path = folder / "attacks" / "deepwordbug.jsonl"
    header, *rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    write_lines(path, [header, *({**row, "queries": queries} for row in rows)])
    return folder


def test_an_attack_that_could_change_nothing_does_not_pass(tmp_path: Path) -> None:
    folder = attacked(tmp_path / "run", 1)
    for limit in ("min_accuracy_under_attack", "max_success_rate"):
        with pytest.raises(RunError, match=f"{limit} cannot be judged .* no text could be changed"):
            rosetune.gate(folder, **{limit: 0.5})


def test_an_attack_that_ran_out_of_queries_is_said(tmp_path: Path) -> None:
    verdict = rosetune.gate(attacked(tmp_path / "run", 100), min_accuracy_under_attack=0.5)
    assert verdict.passed
    assert "under deepwordbug: of 10 rows that withstood, 10 used up the budget, which says nothing of the model." in (
        verdict.notes
    )


def test_a_named_set_of_which_no_limit_speaks_is_said(run: Run) -> None:
    verdict = rosetune.gate(run, max_drop=50, sets=["ocr", "deepwordbug"])
    assert only(verdict, "max_drop").keys() == {"ocr@0.5"}
    assert "Not looked at: under deepwordbug, of which none of these limits speaks." in verdict.notes
    assert not any("Not looked at" in note for note in rosetune.gate(run, max_drop=50).notes)


def test_sets_are_called_as_in_the_tables(tmp_path: Path) -> None:
    sets = {"clean": outcomes(10), "file_other": outcomes(8, 2)}
    made = write_run(tmp_path / "run", sets, metrics=True)
    write_attack(made, ["failed"] * 10, "deepwordbug-spam-0a1b2c3d", about={"recipe": "deepwordbug"})
    verdict = rosetune.gate(made.folder, min_robust_accuracy=0.7, sets=["other"])
    assert only(verdict, "min_robust_accuracy") == {"file_other": (0.8, True)}
    with pytest.raises(RunError, match=r"choose among clean, other, deepwordbug$"):
        rosetune.gate(made.folder, min_robust_accuracy=0.7, sets=["otter"])
    with pytest.raises(RunError, match=r"was not evaluated on advglue: AdvGLUE has no data for the task my$"):
        rosetune.gate(made.folder, min_robust_accuracy=0.7, sets=["advglue"])


def test_an_unknown_limit_is_named_in_python_too(run: Run) -> None:
    with pytest.raises(RunError, match=r"rosetune.gate: there is no limit 'min_acc': did you mean min_accuracy\?"):
        rosetune.gate(run, min_acc=0.5)


def test_nothing_lost_is_no_minus(tmp_path: Path) -> None:
    made = write_run(tmp_path / "run", {"clean": outcomes(8, 2), "typos_1": outcomes(8, 2)})
    (check,) = rosetune.gate(made.folder, max_drop=5).checks
    assert str(check.value) == "0.0"


def test_an_attack_is_called_by_its_recipe_and_class(tmp_path: Path) -> None:
    made = write_run(tmp_path / "run", {"clean": outcomes(10)}, metrics=True)
    about = {"recipe": "deepwordbug", "attack_class": "good"}
    write_attack(made, ["failed"] * 10, "deepwordbug-good-0a1b2c3d", about=about)
    (check,) = rosetune.gate(made.folder, min_accuracy_under_attack=0.5).checks
    assert (check.set, check.title) == ("attack:deepwordbug-good-0a1b2c3d", "under deepwordbug on good")
    last = write_run(tmp_path / "last", {"clean": outcomes(10)}, ROSE, metrics=True)
    said = f"under deepwordbug on good cannot be compared with the baseline (not there for {last}): "
    refused(said, made.folder, baseline=last.folder, max_decline=2)
    write_attack(made, ["skipped"] * 3, "deepwordbug-good-0a1b2c3d", about=about)
    refused("not under deepwordbug on good, where no row was right before", made.folder, max_success_rate=0.5)
    write_attack(made, ["failed"], "deepwordbug-good-0a1b2c3d", rows=9, about=about)
    refused(f"{made}: the attack deepwordbug on good is not finished (1 of 9 rows)", made.folder, max_success_rate=1)
