"""The controls of a claim, by name: what a gain has to beat before it may be called the method's."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from rosetune.runs.claimed_run import ClaimedRun, LeftOut, Training, same_method
from rosetune.runs.config import LENGTH, METHOD, RunConfig
from rosetune.runs.run import Run
from rosetune.runs.values import RunError, differences

__all__ = ["CONTROLS", "Control", "control_config", "control_names", "found_controls", "left_out"]


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
    training: Callable[[ClaimedRun], Training] | None = None


def _vanilla(claim: ClaimedRun) -> Training:
    return {**claim.plain(), "save_total_limit": 1000}  # early stopping looks for its point among all checkpoints


def _two_pass(claim: ClaimedRun) -> Training:
    if same_method(claim.unmasked(), claim.plain()):
        raise LeftOut("the claim's loss takes one pass, so that vanilla is this control")
    return claim.unmasked()


def _task_gradient(claim: ClaimedRun) -> Training:
    options = claim.rose(risk="task")["update_mask_kwargs"]
    if options.get("order") == "second":
        raise LeftOut("the claim ranks by no gradient of the consistency")
    return {**claim.unmasked(), "update_mask": "rose", "update_mask_kwargs": options}


def _same_compute(claim: ClaimedRun) -> Training:
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
        lambda claim: claim.masked("random", match="scalars", upper=claim.density, seed=claim.config.seed),
    ),
    "random_fixed": Control(
        "a random mask, drawn once, of the claim's mean share of scalars",
        "training fewer scalars, not which",
        lambda claim: claim.masked("static", match="scalars", upper=claim.density, seed=claim.config.seed),
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
        "plain AdamW for as many passes as the claim takes (a step of ROSE-Ensemble: two or three of them)",
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


def control_config(claim: ClaimedRun, name: str) -> RunConfig:
    """The run of one control, of those that are trained.

    Raises:
        LeftOut: it has no meaning for the claim, or is the claim itself.
    """
    make = CONTROLS[name].training
    assert make is not None
    training = make(claim)
    if same_method(training, claim.training):
        raise LeftOut("it is the claim itself")
    return claim.with_training(training, claim.folder / name)


def control_names(names: Sequence[str] | None) -> list[str]:
    """The controls that are trained, or those of them that are named, in the order of the set.

    Raises:
        RunError: a name is unknown, or that of one that is computed.
    """
    trained = [name for name, control in CONTROLS.items() if control.training is not None]
    for name in names or ():
        if name not in CONTROLS:
            near = get_close_matches(name, trained, n=1)
            guess = f"did you mean {near[0]}? " if near else ""
            raise RunError(f"no control is called {name!r}: {guess}choose among {', '.join(trained)}")
        if name not in trained:
            raise RunError(f"{name} is not trained: `rosetune compare` computes it")
    return trained if names is None else [name for name in trained if name in names]


def left_out(claim: ClaimedRun) -> dict[str, str]:
    """The names without a meaning for a claim, and why."""
    reasons = {}
    for name in control_names(None):
        try:
            control_config(claim, name)
        except LeftOut as reason:
            reasons[name] = str(reason)
    return reasons


def found_controls(run: Run, folder: Path | None = None) -> dict[str, Run]:
    """Those controls of a run that are finished, known by the names of their folders.

    Args:
        folder: of the controls; None: ``controls`` in the run's.

    Raises:
        RunError: one of them is not the control of its name: it differs from the claim in more than its method, or has
            another method. (Which seed of the claim is replayed, and the seed of random masks, is left open.)
    """
    place = folder or run.folder / "controls"
    found = {name: Run.open(place / name) for name in CONTROLS if (place / name / "metrics.json").is_file()}
    for name, other in found.items():
        names = list(differences(run.identity, other.identity, ignore=(*METHOD, *LENGTH)))
        if names:
            raise RunError(f"{other} is no control of {run}, from which it differs in {', '.join(names)}")
        _check_method(ClaimedRun(run, place), name, other)
    return found


def _check_method(claim: ClaimedRun, name: str, other: Run) -> None:
    try:
        wanted = control_config(claim, name).training
    except LeftOut as reason:
        raise RunError(f"{other} is no control of {claim.run}: {reason}") from reason
    # How many passes a step takes may change with the version: the length of an earlier control is left open.
    length = LENGTH if name == "same_compute" else ()
    if not same_method(wanted, other.config.training, ignore=(".trace", ".seed", *length)):
        raise RunError(f"{other} is not the control {name} of {claim.run}, which `rosetune controls` would train")
