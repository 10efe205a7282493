"""What a hardening will do, step by step, and about how long each takes on this machine."""

import math
import statistics
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from datasets import Dataset

from rosetune.experiments.estimate import Probe, attack_seconds
from rosetune.experiments.harden_options import NONE, PASSES
from rosetune.experiments.harden_setting import Setting
from rosetune.experiments.training import training_arguments
from rosetune.runs.files import read_json

__all__ = ["PlannedStep", "foresee_steps"]


class PlannedStep(NamedTuple):
    """A step, and about how many seconds it takes."""

    what: str
    seconds: float


def foresee_steps(setting: Setting) -> list[PlannedStep]:
    """All steps, as if every round were taken, from some measured steps of the plain run; nothing is kept.

    Seconds of attacks are rough: how many texts an attack asks for depends on the model, and is guessed from the
    number of words.

    Raises:
        RunError: the model cannot be loaded.
    """
    options, trial = setting.options, setting.trial(NONE, {})
    with tempfile.TemporaryDirectory(prefix="rosetune-") as place:
        Probe(replace(trial, output_dir=None), place)()
        told = read_json(Path(place, "probe.json"), "measure again")
    args = training_arguments(trial)
    batch = args.train_batch_size * args.gradient_accumulation_steps
    texts = setting.held.splits["train"][setting.held.text_columns[-1]][:]
    words = statistics.fmean(len(text.split()) for text in texts)
    row = attack_seconds(told["query"], words, len(options.attack), options.budget)

    def training(rows: int, passes: int = 1) -> float:
        steps = args.max_steps if args.max_steps > 0 else math.ceil(math.ceil(rows / batch) * args.num_train_epochs)
        return told["fixed"] + told["step"] * steps * passes

    def of_class(rows: Dataset) -> int:
        label = options.attacked_label(setting.whole.labels)
        return len(rows) if label is None else rows["label"][:].count(label)

    whole, rows = len(setting.whole.splits["train"]), len(texts)
    judged = row * min(options.judge_examples, of_class(setting.held.splits["validation"]))
    attacked = options.attacked(of_class(setting.held.splits["train"]))
    at_end = min(options.examples, of_class(setting.whole.clean[1]))
    steps = [PlannedStep(f"plain run on {whole} rows", training(whole))]
    for name in options.candidates:
        seconds = training(rows, PASSES.get(name, 1)) + judged
        steps.append(PlannedStep(f"trial {name.replace('_', ' ')} on {rows} rows", seconds))
    for number in range(1, options.rounds + 1):
        steps.append(PlannedStep(f"round {number}: attacks on {attacked} training rows", row * attacked))
        # As if half of what is attacked came back as rows.
        more = rows + number * attacked // 2
        steps.append(PlannedStep(f"round {number}: trial on about {more} rows", training(more) + judged))
    steps += [
        PlannedStep(f"trial: {alpha:g} of the way from the pre-trained weights", judged) for alpha in options.alphas
    ]
    if len(options.candidates) > 1 or options.rounds or options.alphas:
        steps.append(PlannedStep("hardened run, if anything gained", training(whole + options.rounds * attacked // 2)))
    if setting.has_control:
        steps.append(PlannedStep("control: the plain model behind a normalisation", told["fixed"]))
    models = 2 + setting.attack_disguises
    steps.append(PlannedStep(f"attacks on {at_end} rows of the evaluation data", models * row * at_end))
    return steps
