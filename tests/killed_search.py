"""A search that is killed with SIGKILL again and again; ``python killed_search.py FOLDER KILLS SEED``.

Every life is a fork, and dies when it writes a file of a trial or of the search. Another life goes on. In the end the
search must have found, and hold, what an undisturbed one does.
"""

import json
import os
import random
import signal
import sys
from pathlib import Path
from typing import Any

import torch

import tiny_run
from rosetune.experiments.search import run_search
from rosetune.experiments.search_options import SearchOptions
from rosetune.experiments.search_space import read_space

SPACE = ("learning_rate=log:1e-3:1e-2", "update_mask_kwargs.upper=0.3:0.9:0.1")
OPTIONS = SearchOptions(trials=4, rungs=2, search_seed=5)


def search(home: Path, folder: str) -> dict[str, Any]:
    training = {"update_mask": "rose", "max_steps": 6, "save_steps": 1}
    config = tiny_run.config(home, folder, training=training, held_out=0.3)
    return run_search(config, read_space(SPACE), OPTIONS, report=tiny_run.silent)


def forked(home: Path, folder: str, last: int | None = None) -> int:
    """The exit code of a life; one that comes to its end leaves the number of its events."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    events = 0

    def on_audit(name: str, args: Any) -> None:
        nonlocal events
        # Not the journal: who dies with its lock makes the next one wait for half a minute.
        writes = name == "open" and isinstance(args[1], str) and args[1][:1] in "wax"
        named = str(args[0]) if args else ""
        if (writes or name == "os.rename") and named.startswith(str(home / folder)) and "journal" not in named:
            events += 1
            if events == last:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(on_audit)
    try:
        search(home, folder)
        (home / f"{folder}.json").write_text(json.dumps(events))
        os._exit(0)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        os._exit(1)


def left(folder: Path) -> dict[str, bytes]:
    """What a search leaves, but for the name of its own folder."""
    found = {name: (folder / name).read_bytes() for name in ("search.json", "best.yaml")}
    trials = (folder / "trials.json").read_text(encoding="utf-8").replace(str(folder), "FOLDER")
    runs = sorted(path for path in (folder / "trials").rglob("*") if path.name in ("metrics.json", "log.jsonl"))
    return {**found, "trials.json": trials.encode(), **{str(p.relative_to(folder)): p.read_bytes() for p in runs}}


def main() -> None:
    home, kills, chance = Path(sys.argv[1]), int(sys.argv[2]), random.Random(int(sys.argv[3]))
    torch.set_num_threads(1)
    if forked(home, "undisturbed"):
        sys.exit(1)
    events, died = json.loads((home / "undisturbed.json").read_text()), 0
    for _ in range(kills):
        died += forked(home, "killed", chance.randint(2, max(3, events // 2))) == -signal.SIGKILL
    if forked(home, "killed") or left(home / "killed") != left(home / "undisturbed"):
        sys.exit("it comes to something else")
    print(died, "killed")


if __name__ == "__main__":
    main()
