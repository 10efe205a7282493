"""What an evaluation keeps beside predictions: how many texts of the clean set were trained on; cards say it."""

from pathlib import Path

import pytest

from made_runs import outcomes, write_run
from rosetune.data.sources import load_task
from rosetune.experiments.measured import note_shared
from rosetune.experiments.training_rows import training_rows
from rosetune.report.card import model_card
from rosetune.report.robustness_card import robustness_card
from rosetune.runs.config import RunConfig
from rosetune.runs.metrics import run_metrics
from rosetune.runs.run import Run


@pytest.mark.parametrize(("given", "part"), [(False, None), (True, None), (False, 2)], ids=["all", "given", "part"])
def test_texts_of_the_clean_set_that_were_trained_on(tmp_path: Path, given: bool, part: int | None) -> None:
    """Two of four test texts stand in the training file, of which a training may take a part."""
    paths = tmp_path / "mail.csv", tmp_path / "test.csv"
    train = [f"a letter with the number {i}" for i in range(8)]
    for path, texts in zip(paths, (train, ["A letter, with the number 1!", "new", train[6], "newer"]), strict=True):
        rows = [f'"{text}",{("bad", "good")[i % 2]}' for i, text in enumerate(texts)]
        path.write_text("\n".join(["text,label", *rows]), encoding="utf-8")
    options = {"task": str(paths[0]), "test_file": str(paths[1]), "max_train_samples": part}
    config = {**options, **({"given": True} if given else {})}
    run = write_run(tmp_path / "run", {"clean": outcomes(3, 1)}, {"seed": 1}, config=config)
    read = RunConfig.read(run.folder)
    data = load_task(read.task, **read.data_options())
    taken = training_rows(read, data, read.seed)[0]["text"][:]
    shared = 0 if given else (train[1] in taken) + (train[6] in taken)
    assert part is not None or given or shared == 2
    note_shared(run.folder / "predictions", read, data)
    metrics = run_metrics(run.folder, run.labels)
    assert metrics["sets"]["clean"].get("in_training_data") == (shared or None)
    sentence = f"{shared} of 4 texts of the clean set also occur in the training data: a result on them is not"
    for card in (model_card, robustness_card):
        assert (sentence in card(Run(run.folder), metrics)) == bool(shared)
