"""The controls of a claim, by name: what a gain has to beat before it may be called the method's."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from rosetune.experiments.claim import Claim, LeftOut, Training, differing, same_method
from rosetune.experiments.config import RunConfig, RunError
from rosetune.experiments.options import read_run_config
from rosetune.experiments.train import train_run

__all__ = ["CONTROLS", "Control", "control_configs", "found_controls", "left_out", "replay_source", "train_controls"]

Report = Callable[[str], Any]


@dataclass(frozen=True)
class Control:
    """One of the named set.

    Attributes:
        title: what it is.
        rules_out: what a gain is due to that this control shows as well.
        training: its run's training arguments, from the claim; None where nothing is trained, since
            ``rosetune compare`` computes it from what other runs predicted.
    """

    title: str
    rules_out: str
    training: Callable[[Claim], Training] | None = None


def _vanilla(claim: Claim) -> Training:
    return {**claim.plain(), "save_total_limit": 1000}  # early stopping looks for its point among all checkpoints


def _two_pass(claim: Claim) -> Training:
    if same_method(claim.unmasked(), claim.plain()):
        raise LeftOut("the claim's loss takes one pass, so that vanilla is this control")
    return claim.unmasked()


def _task_gradient(claim: Claim) -> Training:
    options = claim.rose(risk="task")["update_mask_kwargs"]
    if options.get("order") == "second":
        raise LeftOut("the claim ranks by no gradient of the consistency")
    return {**claim.unmasked(), "update_mask": "rose", "update_mask_kwargs": options}


def _same_compute(claim: Claim) -> Training:
    if claim.step_cost() == 1.0:
        raise LeftOut("a step of the claim takes the passes of a plain one, so that vanilla is this control")
    return claim.longer()


CONTROLS: dict[str, Control] = {
    "vanilla": Control(
        "plain AdamW on cross-entropy in one pass",
        "data, model and schedule: no gain at all",
        _vanilla,
    ),
    "two_pass": Control(
        "the claim's loss without its mask: if cross-entropy, over two dropout passes",
        "the loss (two dropout passes, another objective), not the mask",
        _two_pass,
    ),
    "reversed": Control(
        "ROSE with its ranking turned over: the highest risks are kept",
        "freezing as many tensors, not their risk",
        lambda claim: claim.rose(keep="highest"),
    ),
    "task_gradient": Control(
        "ROSE that ranks by the gradient of the task's loss",
        "the size of the gradients, not the sensitivity to dropout",
        _task_gradient,
    ),
    "random_fresh": Control(
        "a random mask, drawn anew in each step, of the claim's mean share of scalars",
        "updating fewer scalars a step, not which",
        lambda claim: claim.masked("random", match="scalars", upper=claim.density, seed=claim.seed),
    ),
    "random_fixed": Control(
        "a random mask, drawn once, of the claim's mean share of scalars",
        "training fewer scalars, not which",
        lambda claim: claim.masked("static", match="scalars", upper=claim.density, seed=claim.seed),
    ),
    "static": Control(
        "the tensors that the claim updated most often, updated always, the others never",
        "which tensors are frozen on the whole, not the choice in each step",
        lambda claim: claim.masked("static", match="scalars", trace=str(claim.trace_file)),
    ),
    "replay": Control(
        "the multipliers of the claim with another seed, step by step",
        "when and how often a tensor is updated, not the choice for the batch at hand",
        lambda claim: claim.masked("replay", trace=str(claim.replayed_file)),
    ),
    "uniform": Control(
        "every target at the claim's mean multiplier",
        "smaller and smoother steps, not a choice of tensors",
        lambda claim: claim.masked("uniform", multiplier=claim.density),
    ),
    "frozen": Control(
        "all targets frozen; embeddings, biases, pooler and head are trained",
        "sparing the pre-trained layers, not which of them",
        lambda claim: claim.masked("static", frozen="."),
    ),
    "same_compute": Control(
        "plain AdamW for as many passes as the claim took (a step of ROSE-Ensemble: three of them)",
        "more computation",
        _same_compute,
    ),
    "label_smoothing": Control(
        "plain AdamW with 0.1 of each label spread over all of them",
        "less confident predictions",
        lambda claim: claim.plain(label_smoothing=0.1),
    ),
    "constant": Control("the best constant prediction", "one label's share of the set"),
    "flip": Control(
        "the baseline with labels flipped at random down to the claim's clean accuracy",
        "a loss of clean accuracy alone, which lifts a set below chance",
    ),
    "early_stopping": Control(
        "vanilla stopped where its clean accuracy is the claim's",
        "having learnt less, as in a shorter training",
    ),
    "temperature": Control(
        "vanilla with its logits divided by a temperature; calibration only",
        "flatter confidence, which moves no prediction",
    ),
}


def control_configs(
    claim_run: str | Path,
    names: Sequence[str] | None = None,
    output_dir: str | Path | None = None,
    trace_of: str | Path | None = None,
) -> dict[str, RunConfig]:
    """The runs of a claim's controls; they are evaluated on what the claim has been evaluated on.

    Args:
        claim_run: folder of a finished run.
        names: of :data:`CONTROLS`; None: every one that is trained and has a meaning for the claim.
        output_dir: holds a folder for each; None: ``controls`` in the claim's.
        trace_of: a run of the claim with another seed, for ``replay``; None: the one of which a replay is begun, else
            :func:`replay_source`.

    Raises:
        RunError: the run is not finished or has no method; a name is unknown or has no meaning for the claim;
            ``trace_of`` is not the claim with another seed.
    """
    claim, configs = Claim(claim_run, output_dir, trace_of), {}
    for name in _names(names):
        try:
            configs[name] = _derive(claim, name)
        except LeftOut as reason:
            if names is not None:
                raise RunError(f"{name} is no control of {claim_run}: {reason}") from reason
    return configs


def left_out(
    claim_run: str | Path, output_dir: str | Path | None = None, trace_of: str | Path | None = None
) -> dict[str, str]:
    """The names without a meaning for a claim, and why; for the arguments see :func:`control_configs`."""
    claim, reasons = Claim(claim_run, output_dir, trace_of), {}
    for name in _names(None):
        try:
            _derive(claim, name)
        except LeftOut as reason:
            reasons[name] = str(reason)
    return reasons


def replay_source(claim_run: str | Path, output_dir: str | Path | None = None) -> RunConfig:
    """The claim with the next seed, in ``replay_source``: whose trace ``replay`` takes where no other is named."""
    return Claim(claim_run, output_dir).replay_source


def train_controls(
    claim_run: str | Path,
    names: Sequence[str] | None = None,
    output_dir: str | Path | None = None,
    trace_of: str | Path | None = None,
    report: Report = print,
) -> dict[str, Path]:
    """Train a claim's controls one after another; a killed call goes on, and what is finished is not repeated.

    Args:
        claim_run, names, output_dir, trace_of: see :func:`control_configs`.
        report: takes a line of text for the person who waits.

    Returns:
        The folder of each.

    Raises:
        RunError: see there; or a folder holds another run.
    """
    configs = control_configs(claim_run, names, output_dir, trace_of)
    folders = {}
    for number, (name, config) in enumerate(configs.items(), start=1):
        report(f"[{number}/{len(configs)}] {name}: {CONTROLS[name].title}")
        if name == "replay":
            source = replay_source(claim_run, output_dir)
            if Path(config.training["update_mask_kwargs"]["trace"]).parent == Path(str(source.output_dir)):
                report(f"first the claim with seed {source.training['seed']}, whose multipliers are replayed")
                train_run(source, report)
        folders[name] = train_run(config, report)
    return folders


def found_controls(claim_run: str | Path, output_dir: str | Path | None = None) -> dict[str, Path]:
    """The folders of those controls of a run that are finished, known by their names.

    Raises:
        RunError: one of them is not the control of its name: it differs from the claim in more than its method, or has
            another method. (Which seed of the claim is replayed, and the seed of random masks, is left open.)
    """
    folder = Path(claim_run) / "controls" if output_dir is None else Path(output_dir).expanduser()
    found = {name: folder / name for name in CONTROLS if (folder / name / "metrics.json").is_file()}
    for path in found.values():
        names = differing(claim_run, path, method=False)
        if names:
            raise RunError(f"{path} is no control of {claim_run}, from which it differs in {', '.join(names)}")
    if found:
        claim = Claim(claim_run, output_dir)
        for name, path in found.items():
            _check_method(claim, name, path)
    return found


def _check_method(claim: Claim, name: str, path: Path) -> None:
    try:
        wanted = _derive(claim, name).training
    except LeftOut as reason:
        raise RunError(f"{path} is no control of {claim.run}: {reason}") from reason
    if not same_method(_without_draw(wanted), _without_draw(read_run_config(path).training)):
        raise RunError(f"{path} is not the control {name} of {claim.run}, which `rosetune controls` would train")


def _without_draw(training: Training) -> Training:
    """Without the file of a trace and the seed of a mask's draws, which belong to the claim's seed."""
    options = training.get("update_mask_kwargs") or {}
    kept = {key: value for key, value in options.items() if key not in ("trace", "seed")}
    return {**training, "update_mask_kwargs": kept}


def _derive(claim: Claim, name: str) -> RunConfig:
    make = CONTROLS[name].training
    assert make is not None
    training = make(claim)
    if same_method(training, claim.training):
        raise LeftOut("it is the claim itself")
    return dataclasses.replace(claim.config, output_dir=str(claim.folder / name), training=training)


def _names(names: Sequence[str] | None) -> list[str]:
    trained = [name for name, control in CONTROLS.items() if control.training is not None]
    for name in names or ():
        if name not in CONTROLS:
            near = get_close_matches(name, trained, n=1)
            guess = f"did you mean {near[0]}? " if near else ""
            raise RunError(f"no control is called {name!r}: {guess}choose among {', '.join(trained)}")
        if name not in trained:
            raise RunError(f"{name} is not trained: `rosetune compare` computes it")
    return trained if names is None else [name for name in trained if name in names]
