"""A model that was trained elsewhere becomes a run: its labels, its head, and what works on it."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import tiny_run
from command_line import one_line
from rosetune import scores
from rosetune.experiments import given
from rosetune.experiments.given import evaluate_given
from rosetune.runs.config import RunConfig
from rosetune.runs.run import Run, RunError
from tiny_run import Library

HEAD = ("classifier.weight", "classifier.bias")


def saved(library: Library, to: Path, names: tuple[str, str], order: tuple[int, int] = (0, 1)) -> Path:
    """The model of a run that tells good from bad, its classes in this order and under these names."""
    shutil.copytree(library.learned() / "model", to)
    weights = load_file(to / "model.safetensors")
    weights |= {name: weights[name][list(order)].clone() for name in HEAD}
    save_file(weights, to / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((to / "config.json").read_text())
    config |= {"id2label": dict(enumerate(names)), "label2id": {name: i for i, name in enumerate(names)}}
    (to / "config.json").write_text(json.dumps(config))
    return to


def words(library: Library, model: Path | str, folder: Path, *more: Any) -> list[Any]:
    task = ("--task", library.home / "my.csv", "--output_dir", folder)
    return ["evaluate", "--model_name_or_path", model, *task, "--sets", "clean", *more]


@pytest.mark.parametrize(
    ("names", "order", "said"),
    [
        (("bad", "good"), (0, 1), ""),
        (("good", "bad"), (1, 0), ""),
        (("GOOD", "Bad"), (1, 0), ""),
        (("LABEL_0", "LABEL_1"), (0, 1), "they are taken as LABEL_0 as bad, LABEL_1 as good"),
    ],
)
def test_labels_are_matched_by_name(
    names: tuple[str, str], order: tuple[int, int], said: str, library: Library, tmp_path: Path, rosetune: Any
) -> None:
    """Its predictions are those of the run that it comes from."""
    model = saved(library, tmp_path / f"model-{'-'.join(names)}", names, order)
    code, out, err = rosetune(*words(library, model, tmp_path / "run"))
    assert code == 0, err
    assert "clean" in out
    assert said in err
    assert ("are taken as" in err) == bool(said)
    run, source = Run.open(tmp_path / "run"), Run.open(library.learned())
    assert (run.method, run.labels, run.timing, run.log) == ("given", ("bad", "good"), {}, [])
    ours, theirs = ([row["prediction"] for row in r.rows("clean")] for r in (run, source))
    assert ours == theirs
    assert run.metrics["sets"]["clean"]["accuracy"] == source.metrics["sets"]["clean"]["accuracy"] > 0.7
    logits = [torch.tensor([row["logits"] for row in r.rows("clean")]) for r in (run, source)]
    torch.testing.assert_close(*logits)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("neg", "pos"), "tells apart neg, pos, the data bad, good: give data with the same label names"),
        (("good", "LABEL_1"), "tells apart good, LABEL_1, the data bad, good"),
    ],
)
def test_other_names_are_refused(
    names: tuple[str, str], message: str, library: Library, tmp_path: Path, rosetune: Any
) -> None:
    model = saved(library, tmp_path / "model", names)
    one_line(rosetune(*words(library, model, tmp_path / "run")), message)
    assert not (tmp_path / "run").exists()


def test_another_number_of_labels_is_refused(library: Library, tmp_path: Path, rosetune: Any) -> None:
    model = saved(library, tmp_path / "model", ("bad", "good"))
    weights = load_file(model / "model.safetensors")
    weights |= {name: torch.cat([weights[name], weights[name][:1]]) for name in HEAD}
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((model / "config.json").read_text())
    config |= {"id2label": {"0": "bad", "1": "good", "2": "so so"}, "label2id": {"bad": 0, "good": 1, "so so": 2}}
    (model / "config.json").write_text(json.dumps(config))
    one_line(
        rosetune(*words(library, model, tmp_path / "run")),
        "are bad, good, so so, those of the data bad, good: give data with as",
    )
    assert not (tmp_path / "run").exists()


def test_a_head_that_is_not_trained_is_refused(library: Library, tmp_path: Path, rosetune: Any) -> None:
    model = saved(library, tmp_path / "model", ("bad", "good"))
    weights = load_file(model / "model.safetensors")
    body = {name: value for name, value in weights.items() if name not in HEAD}
    save_file(body, model / "model.safetensors", metadata={"format": "pt"})
    message = "holds no trained classifier: classifier.bias, classifier.weight would be random"
    one_line(rosetune(*words(library, model, tmp_path / "run")), message)
    assert not (tmp_path / "run").exists()
    one_line(rosetune(*words(library, tmp_path / "gone", tmp_path / "run")), "there is no folder")
    assert not (tmp_path / "run").exists()


def test_attack_compare_and_predict_work_on_it(library: Library, tmp_path: Path, rosetune: Any) -> None:
    model = saved(library, tmp_path / "model", ("good", "bad"), (1, 0))
    run, own = tmp_path / "run", library.copy(library.learned(), tmp_path / "own")
    assert rosetune(*words(library, model, run))[0] == 0
    before = tiny_run.snapshot(run)
    assert rosetune(*words(library, model, run))[0] == 0
    assert tiny_run.snapshot(run) == before  # a second call does nothing
    code, _, err = rosetune("evaluate", run, "--sets", "noise")
    assert (code, err) == (0, "")
    code, out, err = rosetune("attack", own, run, "--attack", "deepwordbug", "--examples", 6, "--json")
    assert code == 0, err
    figures = json.loads(out)["runs"]
    ours, theirs = ({k: v for k, v in figures[str(r)]["deepwordbug"].items() if k != "file"} for r in (run, own))
    assert ours == theirs  # they are one model
    code, out, err = rosetune("compare", own, run)
    assert (code, err) == (0, ""), err
    code, out, _ = rosetune("predict", run, "--text", "the film was great", "--json")
    assert json.loads(out)["label"] == "good"


def test_another_model_in_its_folder_is_refused(library: Library, tmp_path: Path, rosetune: Any) -> None:
    one = saved(library, tmp_path / "one", ("bad", "good"))
    two = saved(library, tmp_path / "two", ("bad", "good"), (1, 0))
    assert rosetune(*words(library, one, tmp_path / "run"))[0] == 0
    one_line(rosetune(*words(library, two, tmp_path / "run")), "holds a run of another configuration")


def test_the_data_is_described_and_what_is_left_out_is_said(library: Library, tmp_path: Path, rosetune: Any) -> None:
    model = saved(library, tmp_path / "model", ("bad", "good"))
    data = tmp_path / "gaps.csv"
    data.write_text((library.home / "my.csv").read_text() + ",good\n,bad\n")
    words = ("evaluate", "--model_name_or_path", model, "--sets", "clean", "--output_dir", tmp_path / "run")
    code, _, err = rosetune(*words, "--task", data, "--drop_empty")
    assert code == 0, err
    assert "left out of the training rows: 2 with empty text" in err
    assert "training labels: bad " in err


def test_a_regression_and_labels_are_told_apart(library: Library, tmp_path: Path, rosetune: Any) -> None:
    """A model with one output becomes a run on numbers, and on nothing else."""
    numbers = tmp_path / "numbers.csv"
    lines = (library.home / "my.csv").read_text().splitlines()[1:]
    rows = [f"{line.rpartition(',')[0]},{i / 4 + 0.1}" for i, line in enumerate(lines)]
    numbers.write_text("\n".join(["text,label", *rows]) + "\n")
    model = saved(library, tmp_path / "one", ("bad", "good"))
    weights = load_file(model / "model.safetensors")
    weights |= {name: weights[name][:1].clone() for name in HEAD}
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((model / "config.json").read_text())
    config |= {"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}, "problem_type": "regression"}
    (model / "config.json").write_text(json.dumps(config))
    start = ("evaluate", "--model_name_or_path", model, "--output_dir", tmp_path / "run")
    code, _, err = rosetune(*start, "--task", numbers, "--task_type", "regression", "--sets", "clean")
    assert code == 0, err
    run = Run.open(tmp_path / "run")
    assert run.labels == ()
    errors = [(row["prediction"] - row["gold"]) ** 2 for row in run.rows("clean")]
    assert run.metrics["sets"]["clean"]["mse"] == pytest.approx(sum(errors) / len(errors))
    shutil.rmtree(tmp_path / "run")
    message = "gives a regression, with one number as output, the data holds labels (bad, good)"
    one_line(rosetune(*start, "--task", library.home / "my.csv"), message)
    assert not (tmp_path / "run").exists()
    named = saved(library, tmp_path / "two", ("bad", "good"))
    words = ("evaluate", "--model_name_or_path", named, "--output_dir", tmp_path / "run", "--task", numbers)
    message = "gives labels (bad, good), the data holds a regression"
    one_line(rosetune(*words, "--task_type", "regression"), message)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the lock needs a POSIX system")
def test_a_second_process_takes_nothing_from_the_first(
    library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the first one is at work its folder holds little more than its name."""
    model = saved(library, tmp_path / "model", ("bad", "good"))
    config = RunConfig(
        task=str(library.home / "my.csv"),
        model_name_or_path=str(model),
        sets=("clean",),
        output_dir=str(tmp_path / "run"),
        given=True,
    )
    save = given.save_trained

    def second(*args: Any) -> None:
        monkeypatch.setattr(given, "save_trained", save)
        with pytest.raises(RunError, match="another process"):
            evaluate_given(config, tiny_run.silent)
        save(*args)

    monkeypatch.setattr(given, "save_trained", second)
    evaluate_given(config, tiny_run.silent)
    assert Run.open(tmp_path / "run").sets() == ["clean"]


def test_it_has_no_seed(library: Library, tmp_path: Path, rosetune: Any) -> None:
    """Nothing was drawn for it: no table says 42."""
    run, own = tmp_path / "run", library.learned()
    assert rosetune(*words(library, saved(library, tmp_path / "model", ("bad", "good")), run))[0] == 0
    assert Run.open(run).seed is None
    table = scores([Run.open(run), Run.open(own)])
    assert table.seed.isna().tolist() == [True, False]
    code, out, err = rosetune("compare", run, own)
    assert code == 0, err
    said = " ".join(out.split())
    assert said.startswith("A: given, my; ")
    assert " B: vanilla, seed 1, my; " in said


def test_texts_that_are_cut_are_said(library: Library, tmp_path: Path, rosetune: Any) -> None:
    """Of a given model and of a further file: how many of how many, and the longest."""
    model = saved(library, tmp_path / "model", ("bad", "good"))
    code, _, err = rosetune(*words(library, model, tmp_path / "run", "--max_length", 8))
    assert code == 0, err
    n = Run.open(tmp_path / "run").metrics["sets"]["clean"]["n"]
    assert f"clean: {n} of {n} texts are cut at 8 tokens; the longest has 10\n" in err  # eight words, [CLS] and [SEP]
    file = tmp_path / "long.csv"
    file.write_text(f"text,label\n{'film ' * 70},good\na dull film,bad\n", encoding="utf-8")
    code, _, err = rosetune("evaluate", library.copy(library.learned(), tmp_path / "own"), "--test_file", file)
    assert code == 0, err
    assert "long: 1 of 2 texts is cut at 64 tokens; the longest has 72\n" in err
