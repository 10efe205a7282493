"""Which runs make a row: one model, one method, and nothing but the seed between them within a task."""

import pytest

from many_runs import METHODS, write_scores
from rosetune.runs.groups import group_runs, is_control, value_text
from rosetune.runs.run import RunError

SETS = {"clean": 0.9}


def rose(**options):
    return {"update_mask": "rose", "update_mask_kwargs": {"order": "ensemble", **options}}


def rows(runs, *told):
    groups, _ = group_runs(runs, told)
    return {group.name: {task: [run.seed for run in part] for task, part in group.runs.items()} for group in groups}


def test_seeds_of_one_method_are_one_row(tmp_path):
    runs = [
        write_scores(tmp_path / f"{seed}", SETS, rose(seed=seed, trace=seed == 2), seed=seed) for seed in (3, 1, 2)
    ]
    assert rows(runs) == {"rose-ensemble": {"sst2": [1, 2, 3]}}


def test_what_differs_within_a_task_makes_rows(tmp_path):
    runs = [
        write_scores(tmp_path / f"{upper}-{seed}", SETS, rose(upper=upper), seed=seed)
        for upper in (0.4, 0.6)
        for seed in (1, 2)
    ]
    runs.append(write_scores(tmp_path / "default", SETS, rose()))
    assert rows(runs) == {
        "rose-ensemble": {"sst2": [1]},
        "rose-ensemble (upper=0.4)": {"sst2": [1, 2]},
        "rose-ensemble (upper=0.6)": {"sst2": [1, 2]},
    }


def test_what_differs_between_tasks_alone_is_chosen_by_task(tmp_path):
    runs = [
        write_scores(tmp_path / f"{task}-{seed}", SETS, {"learning_rate": rate}, seed=seed, task=task)
        for task, rate in (("sst2", 1e-5), ("rte", 2e-5))
        for seed in (1, 2)
    ]
    assert rows(runs) == {"vanilla": {"sst2": [1, 2], "rte": [1, 2]}}
    # As soon as one task has two rates, no task's runs may pass for the same.
    runs.append(write_scores(tmp_path / "other", SETS, {"learning_rate": 2e-5}, task="sst2"))
    assert rows(runs) == {
        "vanilla (learning_rate=1e-05)": {"sst2": [1, 2]},
        "vanilla (learning_rate=2e-05)": {"sst2": [1], "rte": [1, 2]},
    }


def test_what_a_plan_calls_otherwise_is_another_row_with_its_name(tmp_path):
    """Also where each of them has its own learning rate in each task, by which options would not tell them apart."""
    chosen = {("sst2", "plain"): 1e-5, ("sst2", "quick"): 2e-5, ("rte", "plain"): 2e-5, ("rte", "quick"): 1e-5}
    labels = {}
    for (task, label), rate in chosen.items():
        options = {**rose(**({"sketch": 16} if label == "quick" else {})), "learning_rate": rate}
        for seed in (1, 2):
            run = write_scores(tmp_path / f"{task}-{label}-{seed}", SETS, options, seed=seed, task=task)
            labels[run] = label
    vanilla = write_scores(tmp_path / "vanilla", SETS, {}, seed=1)
    groups, _ = group_runs([*labels, vanilla], labels={**labels, vanilla: "baseline"})
    assert {group.name: {task: len(runs) for task, runs in group.runs.items()} for group in groups} == {
        "vanilla": {"sst2": 1},  # the only one of its method
        "plain": {"sst2": 2, "rte": 2},
        "quick": {"sst2": 2, "rte": 2},
    }


def test_options_of_one_name_keep_the_mapping_that_they_stand_in(tmp_path):
    runs = [
        write_scores(
            tmp_path / f"{alpha}-{beta}",
            SETS,
            {"objective": "r_drop", "objective_kwargs": {"alpha": alpha}, **rose(alpha=beta)},
        )
        for alpha, beta in ((1, 1), (1, 2), (2, 1))
    ]
    assert [*rows(runs)] == [
        "r-drop+rose-ensemble (objective_kwargs.alpha=1, update_mask_kwargs.alpha=1)",
        "r-drop+rose-ensemble (objective_kwargs.alpha=1, update_mask_kwargs.alpha=2)",
        "r-drop+rose-ensemble (objective_kwargs.alpha=2, update_mask_kwargs.alpha=1)",
    ]


@pytest.mark.parametrize(
    ("option", "shown"),
    [
        ({"max_train_samples": 100}, "max_train_samples=100"),
        ({"held_out": 0.2}, "held_out=0.2"),
        ({"data_fingerprint": "sha256:0123456789abcdef0123"}, "data_fingerprint=01234567"),
    ],
)
def test_other_data_is_another_row(tmp_path, option, shown):
    runs = [write_scores(tmp_path / "a", SETS), write_scores(tmp_path / "b", SETS, **option)]
    assert any(name.startswith("vanilla (") and shown in name for name in rows(runs))
    assert len(rows(runs)) == 2


def test_models_are_kept_apart_and_named_without_folders(tmp_path):
    models = ("FacebookAI/roberta-base", "FacebookAI/roberta-large", "other/roberta-base")
    runs = [write_scores(tmp_path / f"{i}", SETS, model=model) for i, model in enumerate(models)]
    groups, _ = group_runs(runs)
    assert sorted(group.model for group in groups) == [
        "roberta-base (FacebookAI/roberta-base)",
        "roberta-base (other/roberta-base)",
        "roberta-large",
    ]


def test_of_equal_runs_the_first_counts(tmp_path):
    runs = [write_scores(tmp_path / name, SETS) for name in "abc"]
    groups, notes = group_runs(runs)
    assert groups[0].runs == {"sst2": [runs[0]]}
    assert notes == ["2 runs have the same options and seed as another one: the first of each counts."]


def test_a_seed_counts_once_in_a_row(tmp_path):
    runs = [
        write_scores(tmp_path / f"{seed}", SETS, {"update_mask": "random", "update_mask_kwargs": {"seed": seed}})
        for seed in (1, 2)
    ]
    groups, notes = group_runs(runs)
    assert groups[0].runs == {"sst2": [runs[0]]}
    assert notes == ["1 run has the row, random, and the seed as another one: the first of each counts."]


def test_controls_of_a_claim_are_rows_whatever_they_were_matched_to(tmp_path):
    runs = []
    for seed in (1, 2):
        claim = tmp_path / f"rose-{seed}"
        runs.append(write_scores(claim, SETS, rose(upper=0.6), seed=seed))
        matched = {"update_mask": "random", "update_mask_kwargs": {"upper": 0.5 + seed / 100}}
        runs.append(write_scores(claim / "controls" / "random_fresh", SETS, matched, seed=seed))
        runs.append(write_scores(claim / "controls" / "same_compute", SETS, {"num_train_epochs": 6}, seed=seed))
        runs.append(write_scores(claim / "controls" / "vanilla", SETS, seed=seed))
    groups, notes = group_runs(runs)
    assert notes == []
    assert [(group.name, group.control, [run.seed for run in group.runs["sst2"]]) for group in groups] == [
        ("vanilla", False, [1, 2]),
        ("rose-ensemble", False, [1, 2]),
        ("random_fresh of rose-ensemble", True, [1, 2]),
        ("same_compute of rose-ensemble", True, [1, 2]),
    ]


@pytest.mark.parametrize(
    ("training", "control"),
    [
        (METHODS["vanilla"], False),
        (METHODS["r-drop"], False),
        (METHODS["rose-first"], False),
        ({"update_mask": "child_tuning"}, False),
        (METHODS["passes-2"], True),
        ({"objective_kwargs": {"label_smoothing": 0.1}}, True),
        ({"label_smoothing_factor": 0.1}, True),
        (METHODS["static"], True),
        ({"update_mask": "uniform"}, True),
        ({"update_mask": "replay"}, True),
        (rose(keep="highest"), True),
        (rose(risk="task"), True),
        ({**rose(), "objective_kwargs": {"label_smoothing": 0.1}}, False),
    ],
)
def test_what_is_a_control(tmp_path, training, control):
    assert is_control(write_scores(tmp_path / "a", SETS, training)) is control


def test_told_options_make_rows_and_must_be_there(tmp_path):
    runs = [write_scores(tmp_path / "a", SETS, rose(gamma=0.5)), write_scores(tmp_path / "b", SETS)]
    assert rows(runs, "gamma") == {"vanilla": {"sst2": [1]}, "rose-ensemble (gamma=0.5)": {"sst2": [1]}}
    with pytest.raises(RunError, match="no run was given the option gama: did you mean"):
        group_runs(runs, ["gama"])


def test_the_order_is_the_papers_and_values_go_by_their_size(tmp_path):
    runs = [write_scores(tmp_path / name, SETS, name) for name in reversed(METHODS)]
    runs += [write_scores(tmp_path / f"{upper}", SETS, rose(upper=upper)) for upper in (0.9, 0.1)]
    assert [*rows(runs)] == [
        *("vanilla", "r-drop", "rose-first", "rose-ensemble", "rose-ensemble (upper=0.1)"),
        *("rose-ensemble (upper=0.9)", "r-drop+rose-first", "passes-2", "static"),
    ]


def test_values_in_names():
    assert [value_text(value) for value in (0.4, "first", None, {"a": 1}, "sha256:" + "ab" * 32)] == [
        "0.4",
        "first",
        "null",
        '{"a": 1}',
        "abababab",
    ]


def test_changed_labels_make_another_task_and_no_other_row(tmp_path):
    runs = [
        write_scores(tmp_path / f"{i}", SETS, {"learning_rate": rate}, **changed)
        for i, (rate, changed) in enumerate(
            [(1e-5, {}), (2e-5, {"imbalance": 0.1}), (4e-5, {"label_noise": 0.2, "imbalance": 0.1})]
        )
    ]
    assert rows(runs) == {
        "vanilla": {"sst2": [1], "sst2 (imbalance=0.1)": [1], "sst2 (imbalance=0.1, label_noise=0.2)": [1]}
    }
    with pytest.raises(RunError, match="imbalance tells columns apart"):
        rows(runs, "imbalance")
