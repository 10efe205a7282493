"""What a process of a sweep does, wherever it runs: one run from its training to its attacks."""

import gc
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from multiprocessing import parent_process
from pathlib import Path
from typing import Any

import sklearn.metrics  # noqa: F401 (loaded once, in the process that all jobs are forked from)
import transformers.models.bert  # noqa: F401

from rosetune.experiments.adversarial_options import AdversarialOptions
from rosetune.experiments.along import KEEP_ALL, evaluate_along, is_followed, keeps_checkpoints
from rosetune.experiments.attack import attack_runs
from rosetune.experiments.attack_options import AttackOptions
from rosetune.experiments.checkpoints import remove_checkpoints
from rosetune.experiments.errors import disk_is_full
from rosetune.experiments.lock import locked
from rosetune.experiments.train import train_run
from rosetune.experiments.yielded_rows import yield_rows
from rosetune.runs.config import RunConfig
from rosetune.runs.files import LOGGED_FOLDER
from rosetune.runs.run import Run
from rosetune.runs.values import RunError

__all__ = ["Job", "run_in_process", "share_threads", "told"]

# By exit code what the process that started one can say; a full disk need not have taken the log's last lines.
_REASONS = {1: "it failed", 74: "no space is left on the disk: free some and give the same command again"}


@dataclass(frozen=True)
class Job:
    """A run that is to be done, in words that another process understands.

    Attributes:
        key: of the run.
        config: with its folder.
        attacks: on it, once it is trained.
        log: what it says goes there; the file is there before the job starts.
        adversarial: how its training rows are attacked then, for others; None: they are not.
        along: whether its checkpoints are evaluated too; they go after that, unless it says how many it keeps.
    """

    key: str
    config: RunConfig
    attacks: tuple[AttackOptions, ...]
    log: Path
    adversarial: AdversarialOptions | None = None
    along: bool = False

    def do(self) -> None:
        """Train, evaluate, attack, find rows for others; what is done is not repeated, and what was killed goes on."""
        _say(f"{LOGGED_FOLDER}{self.config.output_dir}")
        folder = self._followed() if self.along else train_run(self.config, _say)
        for options in self.attacks:
            attack_runs([Run.open(folder)], options, _say)
        if self.adversarial is not None:
            yield_rows(self.config, self.adversarial, _say)

    def _followed(self) -> Path:
        """Train it with checkpoints, and evaluate these.

        Raises:
            RunError: its checkpoints are gone, or it has none but the end.
        """
        config = self.config
        if "save_total_limit" not in config.training:
            config = replace(config, training={**config.training, "save_total_limit": KEEP_ALL})
        folder = train_run(config, _say)
        run = evaluate_along(folder, config.sets, _say, config.noises)
        if not is_followed(run, config.sets, config.noises):
            raise RunError(f"{folder} cannot be followed along training: {_why_not(run)}")
        if not keeps_checkpoints(run):
            with locked(folder):
                remove_checkpoints(folder)
        return folder


def _why_not(run: Run) -> str:
    if any(not about["end"] for about in run.steps.values()):
        return "its checkpoints, which the new sets would need, are gone: leave these sets out, or remove that folder"
    if run.steps:
        return "it has no checkpoint but the end: save more (a smaller save_steps), and remove that folder"
    return "it was trained before without that, so that its checkpoints are gone: remove that folder"


def _say(line: str) -> None:
    print(line, flush=True)


def share_threads(threads: int) -> None:
    """Let this process use so many threads."""
    import torch

    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"):
        os.environ[name] = str(threads)
    torch.set_num_threads(threads)


def run_in_process(work: Callable[[], Any], log: Path, threads: int, device: str | None) -> None:
    """Do some work in this process, which was started for it; its exit code says how it ended, see :func:`told`.

    It dies with the process that started it, however that ends, and leaves Ctrl-C to it.

    Args:
        log: takes what is printed, and the error.
        threads: the process's share.
        device: the only GPU that it sees; None: what there is.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.freeze()  # what is imported need not be looked through at every collection
    threading.Thread(target=_die_with_parent, daemon=True).start()
    if device is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = device
    with log.open("a", encoding="utf-8") as file:
        sys.stdout.flush()
        sys.stderr.flush()
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        share_threads(threads)
        code = logged(work)
        if code:
            os._exit(code)  # an ordinary end would write what is left to say, to a disk that may be full


def logged(work: Callable[[], Any]) -> int:
    """Do some work; the exit code that says how it went.

    What it raises is printed, in one line where a user can act on it, as far as the disk takes it.
    """
    code = 0
    try:
        _say(f"--- {datetime.now():%Y-%m-%d %H:%M:%S}, process {os.getpid()}")
        work()
    except Exception as error:
        code = 74 if disk_is_full(error) else 1
        with suppress(OSError):
            if isinstance(error, ValueError | OSError):
                _say(f"error: {error}")
            else:
                traceback.print_exc()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):
            stream.flush()
    return code


def told(code: int) -> str | None:
    """What an exit code says; None of 0, for success."""
    return _REASONS.get(code, _REASONS[1]) if code else None


def _die_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGKILL)
