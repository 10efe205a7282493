"""A search that is killed again and again; see ``killed_study``. ``python killed_search.py FOLDER KILLS SEED``."""

from pathlib import Path

import killed_study
import tiny_run
from rosetune.experiments.search import run_search
from rosetune.experiments.search_options import SearchOptions
from rosetune.experiments.search_space import read_space

SPACE = ("learning_rate=log:1e-3:1e-2", "update_mask_kwargs.upper=0.3:0.9:0.1")
OPTIONS = SearchOptions(trials=4, rungs=2, search_seed=5)


def work(home: Path, folder: str) -> None:
    training = {"update_mask": "rose", "max_steps": 6, "save_steps": 1}
    config = tiny_run.config(home, folder, training=training, held_out=0.3)
    run_search(config, read_space(SPACE), OPTIONS, report=tiny_run.silent)


def left(folder: Path) -> dict[str, bytes]:
    """What a search leaves, but for the name of its own folder."""
    found = {name: (folder / name).read_bytes() for name in ("search.json", "best.yaml")}
    trials = (folder / "trials.json").read_text(encoding="utf-8").replace(str(folder), "FOLDER")
    runs = sorted(path for path in (folder / "trials").rglob("*") if path.name in ("metrics.json", "log.jsonl"))
    return {**found, "trials.json": trials.encode(), **{str(p.relative_to(folder)): p.read_bytes() for p in runs}}


if __name__ == "__main__":
    # Who dies with the lock of the journal makes the next one wait for half a minute.
    killed_study.main(work, left, early=2, passed_over="journal")
