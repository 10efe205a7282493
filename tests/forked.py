"""Processes that a test may kill, importable as ``forked``: forks of one that has imported what a run needs.

That one is the server that the sweeps of the same process use too, so that torch is imported once for all of them.
"""

import multiprocessing
import os
import sys
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any


def context() -> Any:
    """Where the system cannot fork, every process imports for itself."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    found = multiprocessing.get_context("forkserver")
    found.set_forkserver_preload(["rosetune.experiments.worker"])
    return found


def started(said: Path, function: Callable[..., Any], *args: Any) -> BaseProcess:
    """A process that calls a function on one thread; what it says goes to a file."""
    process = context().Process(target=_call, args=(said, function, args))
    process.start()
    return process


def _call(said: Path, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
    import torch

    torch.set_num_threads(1)
    with said.open("w", encoding="utf-8") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    function(*args)
    sys.stdout.flush()
