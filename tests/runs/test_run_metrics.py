"""All metrics of a run from its prediction rows, AdvGLUE's score and the paper's among them."""

import json

import pytest

from made_runs import make_rows, outcomes, write_attack, write_json, write_run
from rosetune.cli import main
from rosetune.data.tasks import find_task
from rosetune.robustness.rows import set_metrics
from rosetune.runs.metrics import over_tasks, run_metrics, select_kinds

KINDS = {"method": ["SCPN", "T3"] * 5, "data_construction": ["sentence"] * 10}


def write(folder, task, clean, advglue, **options):
    labels = find_task(task).labels
    sets = {
        "clean": clean,
        "advglue": make_rows("advglue", advglue, labels=labels, **KINDS),
        "advglue_originals": make_rows("advglue_originals", outcomes(9, 1), labels=labels, **KINDS),
    }
    config = {"task": task, "sets": ["clean", "advglue"]}
    return write_run(folder, sets, task=task, labels=labels, config=config, metrics=True, **options)


def test_each_set_and_no_attack(tmp_path):
    run = write_run(tmp_path / "a", {"typos_1": outcomes(4, 6), "clean": outcomes(8, 2)})
    write_attack(run, ["failed"] * 3)
    found = run_metrics(run.folder, run.labels)
    assert list(found) == ["labels", "sets"]
    assert list(found["sets"]) == ["clean", "typos_1"]
    further = {"detection": found["sets"]["clean"].pop("detection")}
    assert found["sets"]["clean"] == set_metrics(make_rows("clean", outcomes(8, 2)), run.labels)
    assert further["detection"]["positive_label"] == run.labels[1]
    assert found["labels"] == ["bad", "good"]


def test_advglue(tmp_path):
    run = write(tmp_path / "a", "qqp", outcomes(8, 2), outcomes(4, 6))
    found = run.metrics["advglue"]
    # Right are the items 0 to 3; the others are said to be the other label. Positives are the odd items.
    positive = {1, 3, 4, 6, 8}
    f1 = 2 * len(positive & {1, 3, 5, 7, 9}) / (len(positive) + 5)
    assert found["official_score"] == pytest.approx((0.4 + f1) / 2)
    assert found["drop"] == pytest.approx(0.8 - 0.4)
    total = found["sets"]["advglue"]["total"]
    assert (total["change"]["only_a"], total["change"]["only_b"], total["success_rate"]) == (5, 0, 5 / 9)
    assert found["sets"]["advglue"]["by_method"]["sentence/T3"]["adversarial"]["n"] == 5
    assert list(found["sets"]) == ["advglue"]
    assert json.loads(json.dumps(run.metrics, allow_nan=False)) == run.metrics


def test_items_that_training_holds_leave_no_official_score(tmp_path):
    run = write(tmp_path / "a", "sst2", outcomes(8, 2), outcomes(4, 6))
    write_json(run.folder / "predictions/advglue.json", {"advglue": 3, "advglue_originals": 0})
    found = run_metrics(run.folder, run.labels)["advglue"]
    assert found["left_out"] == {"advglue": 3}
    assert found["official_score"] is None
    assert found["drop"] == pytest.approx(0.4)


def test_of_the_version_before_it_is_not_known_whether_all_items_are_there(tmp_path, capsys):
    run = write(tmp_path / "a", "sst2", outcomes(8, 2), outcomes(4, 6), before=True)
    assert run.sets() == ["clean", "advglue", "advglue_originals"]
    main(["evaluate", str(run), "--sets", "clean,advglue"])  # there is nothing left to predict
    said = " ".join(capsys.readouterr().out.split())
    assert "Whether items were left out is not known" in said
    found = json.loads((run.folder / "metrics.json").read_text())["advglue"]
    assert found["official_score"] is None
    assert found["left_out"] == {"advglue": None}
    assert found["drop"] == pytest.approx(0.4)


def test_one_of_two_parts_has_no_official_score(tmp_path):
    run = write(tmp_path / "a", "mnli", outcomes(8, 2), outcomes(4, 6))
    assert run.metrics["advglue"]["official_score"] is None
    assert run.metrics["sets"]["advglue"]["accuracy"] == 0.4


def test_the_part_that_was_asked_for(tmp_path):
    metrics = write(tmp_path / "a", "sst2", outcomes(8, 2), outcomes(4, 6)).metrics
    assert list(select_kinds(metrics, ["clean"])["sets"]) == ["clean"]
    assert "advglue" not in select_kinds(metrics, ["clean"])
    assert select_kinds(metrics, ["clean", "advglue"]) == metrics


def test_over_tasks(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    runs = [
        write(tmp_path / "a", "qqp", outcomes(8, 2), outcomes(4, 6)),
        write(tmp_path / "b", "sst2", outcomes(9, 1), outcomes(7, 3)),
    ]
    both = {run.task: run.metrics for run in runs}
    assert over_tasks(both) == (pytest.approx((0.8 + 0.4 + 0.9 + 0.7) / 4), pytest.approx((0.4 + 0.2) / 2))
    assert over_tasks({"qqp": both["qqp"]}) is None
    assert over_tasks({**both, "rte": {"sets": {"clean": {"accuracy": 1.0}}}}) is None
    main(["evaluate", *map(str, runs), "--sets", "clean,advglue"])  # there is nothing left to predict
    out = capsys.readouterr().out
    assert "Over 2 tasks: average 70.0 of clean and AdvGLUE's accuracy, drop 30.0 points" in " ".join(out.split())
    assert "…" not in out
    for words in ("AdvGLUE by kind and attack", "Calibration", "official score", "AdvGLUE's originals"):
        assert words in out
