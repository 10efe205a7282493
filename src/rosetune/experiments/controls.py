"""Training the controls of a claim: a plan over runs like any other."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rosetune.experiments.train import run_all
from rosetune.runs.claimed_run import ClaimedRun, LeftOut
from rosetune.runs.config import RunConfig
from rosetune.runs.controls import CONTROLS, control_config, control_names
from rosetune.runs.run import RunError

__all__ = ["control_configs", "train_controls"]

Report = Callable[[str], Any]


def control_configs(claim: ClaimedRun, names: Sequence[str] | None = None) -> dict[str, RunConfig]:
    """The runs of a claim's controls; they are evaluated on what the claim has been evaluated on.

    Before ``replay`` comes ``replay_source``, the claim with the next seed, where no other trace is named.

    Args:
        names: of :data:`~rosetune.runs.controls.CONTROLS`; None: every one that is trained and has a meaning here.

    Raises:
        RunError: a name is unknown or has no meaning for the claim, or its ``trace_of`` is not the claim with another
            seed.
    """
    configs: dict[str, RunConfig] = {}
    for name in control_names(names):
        try:
            config = control_config(claim, name)
        except LeftOut as reason:
            if names is not None:
                raise RunError(f"{name} is no control of {claim.run}: {reason}") from reason
            continue
        source = claim.replay_source
        if name == "replay" and claim.replayed_file.parent == Path(str(source.output_dir)):
            configs["replay_source"] = source
        configs[name] = config
    return configs


def train_controls(claim: ClaimedRun, names: Sequence[str] | None = None, report: Report = print) -> dict[str, Path]:
    """Train a claim's controls one after another; a killed call goes on, and what is finished is not repeated.

    Args:
        names: see :func:`control_configs`.
        report: takes a line of text for the person who waits.

    Returns:
        The folder of each.

    Raises:
        RunError: see there; or a folder holds another run.
    """
    configs = control_configs(claim, names)
    folders = {}
    for number, (name, config) in enumerate(configs.items(), start=1):
        title = CONTROLS[name].title if name in CONTROLS else "the claim with the next seed, which replay repeats"
        report(f"[{number}/{len(configs)}] {name}: {title}")
        (folders[name],) = run_all([config], report)
    return folders
