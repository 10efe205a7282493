"""The main job as a plan: plain fine-tuning, noise augmentation, ROSE-Ensemble and its control, alike otherwise.

The plain model is also read behind a normalisation, which trains nothing.
"""

from collections.abc import Callable, Mapping
from typing import Any

from rosetune.data.tasks import find_task
from rosetune.experiments.given import behind_normalization, evaluate_given
from rosetune.experiments.options import merged_layers
from rosetune.experiments.plan import reference
from rosetune.experiments.plan_reader import parse_plan
from rosetune.experiments.reproduce import plan_text
from rosetune.experiments.train import run_all
from rosetune.runs.config import RunConfig
from rosetune.runs.identity import folder_name
from rosetune.runs.run import Run

__all__ = ["NORMALIZED", "TITLES", "demo_plan", "run_demo"]

NORMALIZED = "normalized"
TITLES = {
    "vanilla": "vanilla AdamW",
    NORMALIZED: "normalised texts",
    "noise": "noise training",
    "rose-ensemble": "ROSE-Ensemble",
    "static-mask": "static mask",
}


def demo_plan(
    *,
    task: str = "demo",
    data_dir: str | None = None,
    text_columns: Any = None,
    label_column: str | None = None,
    model_name_or_path: str = "demo",
    output_dir: str = "runs/demo",
    samples: int = 1800,
    seed: int = 42,
) -> dict[str, RunConfig]:
    """Five runs by what they are called.

    Four are trained, on the same sentences in the same steps. Noise training misspells half of the sentences. The
    static mask is ROSE's control: as many tensors as ROSE keeps, those that it kept most often, frozen or free from
    the first step on. The fifth is the plain model behind a normalisation of its texts, without training.

    Args:
        task, text_columns, label_column: as in :class:`~rosetune.runs.config.RunConfig`.
        data_dir: of GLUE's and AdvGLUE's files; adds AdvGLUE where it covers the task.
        samples: training sentences, one epoch in batches of 16.
    """
    folder = f"{output_dir}/{folder_name(task)}"
    known = find_task(task)
    adversarial = ("advglue",) if data_dir is not None and known is not None and known.advglue else ()
    plan = parse_plan(plan_text("demo"), "demo.yaml")
    part = plan.tasks["demo"], plan.models["demo"]
    methods = {name: merged_layers(plan.layers(*part, method, {})) for name, method in plan.methods.items()}
    given = {
        "task": task,
        "model_name_or_path": model_name_or_path,
        "data_dir": data_dir,
        "text_columns": text_columns,
        "label_column": label_column,
        "max_train_samples": samples,
        "seed": seed,
    }
    configs = {}
    for name, options in methods.items():
        own: dict[str, Any] = {"output_dir": f"{folder}/{name}", "sets": (*options["sets"], *adversarial)}
        if options.get("update_mask_kwargs"):
            own["update_mask_kwargs"] = _resolved(options["update_mask_kwargs"], methods, folder)
        configs[name] = RunConfig.from_options({**options, **given, **own})
        if name == "vanilla":
            configs[NORMALIZED] = behind_normalization(configs[name], f"{folder}/{NORMALIZED}")
    return configs


def _resolved(kwargs: Mapping[str, Any], methods: Mapping[str, Mapping[str, Any]], folder: str) -> dict[str, Any]:
    """Another run's trace and values in the place of references; the runs' folders have names of their own here."""
    resolved = dict(kwargs)
    for option, value in kwargs.items():
        other = reference(value)
        if other is not None:
            theirs = methods[other]["update_mask_kwargs"]
            resolved[option] = f"{folder}/{other}/mask_trace.npz" if option == "trace" else theirs[option]
    return resolved


def run_demo(report: Callable[[str], Any] = print, **options: Any) -> dict[str, Run]:
    """Make the plan's runs one after the other; each resumes where it was killed.

    Args:
        report: takes a line of text for the person who waits.
        options: of :func:`demo_plan`.

    Returns:
        The runs by their titles, in the order of the plan.
    """
    plan, runs = demo_plan(**options), {}
    for number, (name, config) in enumerate(plan.items(), start=1):
        report(f"\n[{number}/{len(plan)}] {TITLES[name]}")
        runs[TITLES[name]] = Run.open(evaluate_given(config, report) if config.given else run_all([config], report)[0])
    return runs
