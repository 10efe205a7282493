"""Where the jobs of a sweep run: processes of this machine, or a Ray cluster."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Protocol

from rosetune.experiments.worker import Job, run_in_process, told

__all__ = ["Executor", "LocalExecutor", "cores"]


class Executor(Protocol):
    """Takes jobs, and says what became of them."""

    def has_room(self) -> bool:
        """Whether another job would start now."""

    def start(self, job: Job) -> None:
        """Begin a job."""

    def finished(self, seconds: float) -> dict[str, str | None]:
        """By key what became of jobs since the last call: None where all went well, else what did not.

        Args:
            seconds: to wait for the first of them, at most.
        """

    def stop(self) -> None:
        """End what still runs; each goes on from its last checkpoint when it is started again."""


def cores() -> int:
    """Of the processor, as far as this process may use them."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class LocalExecutor:
    """Each job in a process of its own, some at a time; with several GPUs each process sees one of them.

    The processes are forks of one that has imported torch and nothing else (where the system can fork), so that a job
    starts at once and finds a fresh state.

    Args:
        jobs: at a time.
        threads: of each; None: the cores divided by the jobs.
    """

    def __init__(self, jobs: int = 1, threads: int | None = None) -> None:
        known = multiprocessing.get_all_start_methods()
        self._context: Any = multiprocessing.get_context("forkserver" if "forkserver" in known else "spawn")
        if "forkserver" in known:
            os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")  # a fork must not inherit a started driver
            self._context.set_forkserver_preload(["rosetune.experiments.worker"])
        self.jobs, self.threads = jobs, threads or max(1, cores() // jobs)
        self._devices = _devices()
        self._running: dict[str, tuple[BaseProcess, int]] = {}

    def has_room(self) -> bool:
        """Fewer run than may."""
        return len(self._running) < self.jobs

    def start(self, job: Job) -> None:
        """Begin a job."""
        self.start_work(job.key, job.do, job.log)

    def start_work(self, key: str, work: Callable[[], Any], log: Path) -> None:
        """Begin anything that can be pickled; see :func:`~rosetune.experiments.worker.run_in_process`."""
        slot = min({*range(self.jobs)} - {slot for _, slot in self._running.values()})
        device = self._devices[slot % len(self._devices)] if self._devices else None
        process = self._context.Process(target=run_in_process, args=(work, log, self.threads, device))
        process.start()
        self._running[key] = process, slot

    def finished(self, seconds: float) -> dict[str, str | None]:
        """See :class:`Executor`."""
        wait([process.sentinel for process, _ in self._running.values()], timeout=seconds)
        codes = {key: process.exitcode for key, (process, _) in self._running.items()}
        found = {key: _told(code) for key, code in codes.items() if code is not None}
        for key in found:
            process, _ = self._running.pop(key)
            process.join()
        return found

    def stop(self) -> None:
        """See :class:`Executor`."""
        for process, _ in self._running.values():
            process.kill()
        for process, _ in self._running.values():
            process.join()
        self._running.clear()


def _devices() -> Sequence[str]:
    """The GPUs of this machine, where there are several."""
    import torch

    count = torch.cuda.device_count()
    if count < 2:
        return []
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return named.split(",") if named else [str(number) for number in range(count)]


def _told(code: int) -> str | None:
    if code >= 0:
        return told(code)
    hint = ", as the system does when memory runs out" if -code == signal.SIGKILL else ""
    return f"it was killed by signal {-code}{hint}"
