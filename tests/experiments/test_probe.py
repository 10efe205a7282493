"""Probes as runs: the data of each part, and what the runs say."""

import csv

import pytest

from rosetune.analysis.probing.generator import generate_probe
from rosetune.analysis.probing.scoring import Preference
from rosetune.experiments.probe import PARTS, preferences, probe_configs
from rosetune.report.probe_figure import draw_probes


def test_each_part_has_its_data_and_its_run(library, tmp_path):
    probe = generate_probe("the", 6)
    methods = {"vanilla": {}, "rose": {"update_mask": "rose"}}
    model = {"model_name_or_path": str(library.home / "model")}
    configs = probe_configs(probe, "the", tmp_path, methods, [1, 2], **model, training={"max_steps": 1})
    assert list(configs) == [(m, s, p) for m in methods for s in (1, 2) for p in PARTS]
    assert len({config.output_dir for config in configs.values()}) == 12
    config = configs["rose", 2, "linguistic"]
    assert config.training == {"max_steps": 1, "update_mask": "rose", "seed": 2}
    for path, rows in zip((config.task, config.validation_file), probe.linguistic, strict=True):
        with open(path, encoding="utf-8", newline="") as file:
            assert [(row["sentence"], int(row["label"])) for row in csv.DictReader(file)] == [*rows]


def test_preferences_are_read_from_the_predictions(library, tmp_path):
    from rosetune.experiments.train import train_run
    from rosetune.runs.run import Run

    model = {"model_name_or_path": str(library.home / "model")}
    training = {"max_steps": 1, "disable_tqdm": True}
    configs = probe_configs(
        generate_probe("the", 6), "the", tmp_path, {"vanilla": {}}, [1], **model, training=training
    )
    for config in configs.values():
        train_run(config, lambda line: None)
    (found,) = preferences(configs)["vanilla"]
    for part, score in zip(PARTS, found, strict=True):
        metrics = Run.open(configs["vanilla", 1, part].output_dir).metrics["sets"]["clean"]
        assert score == pytest.approx(metrics["mcc"])


def test_the_figure_is_the_same_again(tmp_path):
    pytest.importorskip("matplotlib")
    probes = {
        "the": {"vanilla": [Preference(-0.5, 0.9, 1.0), Preference(0.1, 0.2, 1.0)], "rose": [Preference(0.3, 1, 1)]}
    }
    for name in ("a", "b"):
        draw_probes(probes, tmp_path / f"{name}.svg")
    text = (tmp_path / "a.svg").read_text()
    assert text == (tmp_path / "b.svg").read_text()
    assert "syntax against the" in text
