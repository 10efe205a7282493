"""Progress in a tracker while a run trains."""

import json
from pathlib import Path

import pytest

from tiny_run import Library, config, silent


def test_tensorboard_gets_every_term_of_the_loss(library: Library, tmp_path: Path) -> None:
    """The same values at the same steps as log.jsonl."""
    reading = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    from rosetune.experiments.train import train_run

    training = {"report_to": "tensorboard", "update_mask": "rose", "objective": "r_drop"}
    wanted = config(library.home, str(tmp_path / "run"), training=training, sets=("clean",))
    run = train_run(wanted, silent)
    (file,) = run.rglob("events.out.tfevents.*")
    events = reading.EventAccumulator(str(file.parent))
    events.Reload()
    log = [json.loads(line) for line in (run / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    for term in ("loss", "task_loss", "consistency", "mask_density_tensors"):
        written = {event.step: event.value for event in events.Scalars(f"train/{term}")}
        assert written == pytest.approx({line["step"]: line[term] for line in log}, rel=1e-5)
