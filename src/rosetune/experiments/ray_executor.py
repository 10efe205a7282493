"""The jobs of a sweep on a Ray cluster: one core task a run, on folders that all its nodes share."""

import os
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from rosetune.data.synonyms import WORDNET
from rosetune.experiments.adversarial_options import AdversarialOptions
from rosetune.experiments.attack_options import AttackOptions
from rosetune.experiments.executors import cores
from rosetune.experiments.worker import Job, logged, share_threads, told
from rosetune.runs.identity import with_absolute_paths
from rosetune.runs.values import RunError

__all__ = ["RayExecutor"]

Options = TypeVar("Options", AttackOptions, AdversarialOptions)
RETRIES = 5  # of a run whose process or node dies; it goes on from its last checkpoint


class RayExecutor:
    """Hands every job to Ray, which starts it where there is room.

    A job takes its share of cores and GPUs, in a process of its own. Where the process or its node dies, Ray starts
    the job anew, up to :data:`RETRIES` times; a job that fails by itself is not tried again.

    Args:
        address: of a cluster; None: one is started on this machine, and ends with this process.
        jobs: at a time, on this machine.
        threads: cores of each job; None: this machine's divided by the jobs, 1 on a cluster elsewhere.
        gpus: share of each job; None: 1 where the cluster has any, else 0.

    Raises:
        RunError: Ray is not installed, or there is no cluster at that address.
    """

    def __init__(
        self, address: str | None = None, *, jobs: int = 1, threads: int | None = None, gpus: float | None = None
    ) -> None:
        ray = self._ray = _import_ray()
        self.threads = threads or (1 if address else max(1, cores() // jobs))
        self._own = None
        options: dict[str, Any] = {"include_dashboard": False, "num_cpus": self.threads * jobs}
        if address is None:
            # Paths of sockets must be short, which a folder for temporary files need not be.
            self._own = options["_temp_dir"] = tempfile.mkdtemp(
                prefix="ray-", dir="/tmp" if os.name == "posix" else None
            )
        try:
            ray.init(**({"address": address} if address else options), log_to_driver=False, logging_level="error")
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise RunError(f"no Ray cluster could be reached at {address or 'this machine'}: {error}") from error
        share = gpus if gpus is not None else float(ray.cluster_resources().get("GPU", 0) > 0)
        task = ray.remote(num_cpus=self.threads, num_gpus=share, max_retries=RETRIES, max_calls=1)
        self._task, self._running = task(_do), dict[str, Any]()

    def has_room(self) -> bool:
        """Always: what Ray has no room for waits there, and tells a cluster to grow."""
        return True

    def start(self, job: Job) -> None:
        """Begin a job."""
        self._running[job.key] = self._task.remote(_absolute(job), self.threads)

    def finished(self, seconds: float) -> dict[str, str | None]:
        """See :class:`~rosetune.experiments.executors.Executor`."""
        references = list(self._running.values())
        ready = set(self._ray.wait(references, num_returns=len(references), timeout=0)[0]) if references else set()
        if references and not ready:
            ready = set(self._ray.wait(references, timeout=seconds)[0])
        found = {key: self._told(reference) for key, reference in self._running.items() if reference in ready}
        for key in found:
            del self._running[key]
        return found

    def stop(self) -> None:
        """End what still runs, and a cluster of its own."""
        for reference in self._running.values():
            self._ray.cancel(reference, force=True)
        self._running.clear()
        self._ray.shutdown()
        if self._own is not None:
            shutil.rmtree(self._own, ignore_errors=True)

    def _told(self, reference: Any) -> str | None:
        try:
            return self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            said = str(error).strip().splitlines() or [type(error).__name__]
            return f"Ray gave it up: {said[-1]}"


def _do(job: Job, threads: int) -> str | None:
    """On a node: None where all went well."""
    if not job.log.is_file():
        import socket

        return (
            f"{job.log.parent} is not on {socket.gethostname()}: give an output_dir on storage that all nodes of the "
            "cluster share"
        )
    share_threads(threads)
    with job.log.open("a", encoding="utf-8") as file:
        kept = os.dup(1), os.dup(2)
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        try:
            return told(logged(job.do))
        finally:
            for stream, own in enumerate(kept, start=1):
                os.dup2(own, stream)


def _absolute(job: Job) -> Job:
    """With paths that mean the same in another folder, and on another node."""
    config = job.config
    training = {name: with_absolute_paths(value, name) for name, value in config.training.items()}
    changes: dict[str, Any] = {
        **config.absolute_paths(),
        "output_dir": str(Path(str(config.output_dir)).expanduser().resolve()),
    }
    attacks = tuple(map(_with_absolute_synonyms, job.attacks))
    adversarial = None if job.adversarial is None else _with_absolute_synonyms(job.adversarial)
    config = replace(config, **changes, training=training)
    return replace(job, config=config, attacks=attacks, adversarial=adversarial, log=job.log.resolve())


def _with_absolute_synonyms(options: Options) -> Options:
    if options.synonyms in (None, WORDNET):
        return options
    return replace(options, synonyms=str(Path(str(options.synonyms)).expanduser().resolve()))


def _import_ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ModuleNotFoundError as error:
        raise RunError("--executor ray needs Ray: pip install 'rosetune[ray]'") from error
    return ray
