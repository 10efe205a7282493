"""A hardening that is killed with SIGKILL again and again; ``python killed_harden.py FOLDER KILLS SEED``.

Every life is a fork, and dies when it writes a file. Another life goes on. In the end the hardening must have found,
and hold, what an undisturbed one does, but for seconds.
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


def forked(home: Path, folder: str, last: int | None = None) -> int:
    """The exit code of a life; one that comes to its end leaves the number of its events."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    events = 0

    def on_audit(name: str, args: Any) -> None:
        nonlocal events
        writes = name == "open" and isinstance(args[1], str) and args[1][:1] in "wax"
        if (writes or name == "os.rename") and str(args[0] if args else "").startswith(str(home / folder)):
            events += 1
            if events == last:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(on_audit)
    try:
        work(home, folder)
        (home / f"{folder}.json").write_text(json.dumps(events))
        os._exit(0)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        os._exit(1)


def left(folder: Path) -> dict[str, Any]:
    """What a hardening leaves, but for the name of its own folder, and for seconds."""
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    for trial in result["trials"]:
        del trial["seconds"]
    files = [*folder.glob("adversarial/*"), *folder.rglob("metrics.json"), *folder.rglob("*/attacks/*.jsonl")]
    return {"result": result, **{str(path.relative_to(folder)): path.read_bytes() for path in sorted(files)}}


def main() -> None:
    home, kills, chance = Path(sys.argv[1]), int(sys.argv[2]), random.Random(int(sys.argv[3]))
    torch.set_num_threads(1)
    if forked(home, "undisturbed"):
        sys.exit(1)
    events, died = json.loads((home / "undisturbed.json").read_text()), 0
    for _ in range(kills):
        died += forked(home, "killed", chance.randint(2, max(3, events // 3))) == -signal.SIGKILL
    if forked(home, "killed") or left(home / "killed") != left(home / "undisturbed"):
        sys.exit("it comes to something else")
    print(died, "killed")


if __name__ == "__main__":
    main()
