"""The whole life of a run, killed with SIGKILL again and again.

torch is imported once: every life is a fork. A life is training, the evaluation of its end, that of its checkpoints,
and an attack. In each of these phases a life dies at a random event: a forward pass of the model, or an operation on a
file in the run's folder, some of which leave the file half written. The next life goes on in the same folder. Once the
last phase is through, the folder must hold what an undisturbed life leaves, byte for byte.
"""

import gc
import json
import os
import random
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import torch
import transformers.modeling_utils as modeling

import tiny_run
from rosetune.experiments import train
from rosetune.experiments.along import evaluate_along
from rosetune.experiments.attack import AttackOptions, attack_runs
from rosetune.runs.run import Run

PHASES = ("training", "training", "evaluation", "checkpoints", "attack", "attack")
ROSE = {"update_mask": "rose", "update_mask_kwargs": {"order": "ensemble", "trace": True}, "save_total_limit": 3}
FILE_OPERATIONS = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree")


class Life:
    """Counts events by phase, and dies at one of them."""

    def __init__(self, home: Path, folder: str, last: tuple[str, int] | None) -> None:
        self.home, self.folder, self.last = home, home / folder, last
        self.phase, self.events = "training", Counter[str]()

    def event(self) -> None:
        self.events[self.phase] += 1
        if (self.phase, self.events[self.phase]) == self.last:
            os.kill(os.getpid(), signal.SIGKILL)

    def run(self) -> None:
        """Watch, then live."""
        sys.addaudithook(self._on_audit)
        torch.nn.modules.module.register_module_forward_hook(self._on_forward)
        torch.save, modeling.safe_save_file = self._halved(torch.save), self._halved(modeling.safe_save_file)
        evaluate_run = train.evaluate_run

        def evaluation(*args: Any, **kwargs: Any) -> Any:
            self.phase = "evaluation"
            return evaluate_run(*args, **kwargs)

        train.evaluate_run = evaluation
        config = tiny_run.config(self.home, self.folder.name, training=ROSE)
        train.train_run(config, tiny_run.silent)
        self.phase = "checkpoints"
        evaluate_along(self.folder, ("clean",), tiny_run.silent)
        self.phase = "attack"
        options = AttackOptions(("deepwordbug",), examples=8, budget=30, batch_size=4)
        attack_runs([Run.open(self.folder)], options, tiny_run.silent)

    def _on_audit(self, name: str, args: Any) -> None:
        writes = name == "open" and isinstance(args[1], str) and args[1][:1] in "wax"
        if (writes or name in FILE_OPERATIONS) and str(self.folder) in str(args[0]):
            self.event()

    def _on_forward(self, module: Any, args: Any, output: Any) -> None:
        if type(module).__name__ == "BertForSequenceClassification":
            self.event()

    def _halved(self, save: Any) -> Any:
        def half_then_whole(value: Any, path: Any, *args: Any, **kwargs: Any) -> None:
            save(value, path, *args, **kwargs)
            whole = Path(path).read_bytes()
            Path(path).write_bytes(whole[: len(whole) // 2])
            self.event()
            Path(path).write_bytes(whole)

        return half_then_whole


def forked(home: Path, folder: str, last: tuple[str, int] | None = None) -> int:
    """The exit code of a life in a process of its own, whose events are written down where it comes to its end."""
    child = os.fork()
    if child == 0:
        life = Life(home, folder, last)
        try:
            life.run()
            (home / f"{folder}.json").write_text(json.dumps(life.events))
            os._exit(0)
        except BaseException:
            sys.excepthook(*sys.exc_info())
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def live(home: Path, kills: int, seed: int) -> None:
    """Print where each life was killed; exit code 1 where a life fails or leaves other bytes.

    To be called in a process of one thread, which it forks.
    """
    chance = random.Random(seed)
    gc.freeze()
    if forked(home, "undisturbed"):
        sys.exit(1)
    events = json.loads((home / "undisturbed.json").read_text())
    whole, died, number = tiny_run.contents(home / "undisturbed"), 0, 0
    while died < kills:
        folder, number = f"killed-{number}", number + 1
        for phase in PHASES:
            moment = chance.randint(1, events[phase])
            code = forked(home, folder, (phase, moment))
            print(folder, phase, f"event {moment} of {events[phase]}:", "killed" if code < 0 else code, flush=True)
            if code > 0:
                sys.exit(1)
            died += code == -signal.SIGKILL
            if code == 0:  # the phase was nearly done
                break
        if forked(home, folder):
            sys.exit(1)
        left = tiny_run.contents(home / folder)
        if left != whole:
            names = sorted(name for name in {*whole, *left} if whole.get(name) != left.get(name))
            sys.exit(f"{folder} differs in {', '.join(names)}")
