"""A study of several runs that is killed with SIGKILL again and again, importable as ``killed_study``.

Every life is a fork, and dies when it writes a file. Another life goes on. In the end the study must have found, and
hold, what an undisturbed one does.
"""

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import tiny_run

Work = Callable[[Path, str], Any]


def died(script: str, folder: Path, kills: int) -> int:
    """Of so many lives of a script those that were killed; the rest came to their end before."""
    tiny_run.write_csv(folder / "my.csv")
    tiny_run.write_model(folder / "model")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    command = [sys.executable, script, str(folder), str(kills), "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return int(done.stdout.split()[-2])


def main(work: Work, left: Callable[[Path], Any], early: int, passed_over: str | None = None) -> None:
    """``python SCRIPT FOLDER KILLS SEED``.

    Args:
        work: the study in a folder, or what is left of it.
        left: what must be the same.
        early: a life dies within the first of so many parts of its writes.
        passed_over: a part of the names of files whose writing is no event.
    """
    home, kills, chance = Path(sys.argv[1]), int(sys.argv[2]), random.Random(int(sys.argv[3]))
    torch.set_num_threads(1)
    if _forked(work, home, "undisturbed", passed_over):
        sys.exit(1)
    events, killed = json.loads((home / "undisturbed.json").read_text()), 0
    for _ in range(kills):
        last = chance.randint(2, max(3, events // early))
        killed += _forked(work, home, "killed", passed_over, last) == -signal.SIGKILL
    if _forked(work, home, "killed", passed_over) or left(home / "killed") != left(home / "undisturbed"):
        sys.exit("it comes to something else")
    print(killed, "killed")


def _forked(work: Work, home: Path, folder: str, passed_over: str | None, last: int | None = None) -> int:
    """The exit code of a life; one that comes to its end leaves the number of its events."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    events = 0

    def on_audit(name: str, args: Any) -> None:
        nonlocal events
        writes = name == "open" and isinstance(args[1], str) and args[1][:1] in "wax"
        named = str(args[0]) if args else ""
        counts = passed_over is None or passed_over not in named
        if (writes or name == "os.rename") and named.startswith(str(home / folder)) and counts:
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
