"""A hardening that is killed again and again; see ``killed_study``. ``python killed_harden.py FOLDER KILLS SEED``."""

import json
from pathlib import Path
from typing import Any

import killed_study
import tiny_run
from rosetune.experiments.harden import run_harden
from rosetune.experiments.harden_options import HardenOptions

OPTIONS = HardenOptions(
    candidates=("noise",),
    rounds=1,
    alphas=(0.9,),
    max_share=0.25,
    judge_examples=6,
    examples=6,
    max_attacked=30,
    budget=40,
)


def work(home: Path, folder: str) -> None:
    training = {"max_steps": 80, "save_steps": 20}
    config = tiny_run.config(home, folder, training=training, sets=("clean", "noise"))
    run_harden(config, OPTIONS, tiny_run.silent)


def left(folder: Path) -> dict[str, Any]:
    """What a hardening leaves, but for the name of its own folder, and for seconds."""
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    for trial in result["trials"]:
        del trial["seconds"]
    files = [*folder.glob("adversarial/*"), *folder.rglob("metrics.json"), *folder.rglob("*/attacks/*.jsonl")]
    return {"result": result, **{str(path.relative_to(folder)): path.read_bytes() for path in sorted(files)}}


if __name__ == "__main__":
    killed_study.main(work, left, early=3)
