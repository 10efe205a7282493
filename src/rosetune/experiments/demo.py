"""The main job as a plan: vanilla fine-tuning against ROSE-Ensemble on the same data and seed, and a control."""

from collections.abc import Callable
from typing import Any

from rosetune.data.tasks import find_task
from rosetune.experiments.train import run_all
from rosetune.runs.config import RunConfig
from rosetune.runs.identity import folder_name
from rosetune.runs.run import Run

__all__ = ["demo_plan", "run_demo"]

TRAINING = {"learning_rate": 1e-4, "num_train_epochs": 1, "per_device_train_batch_size": 16}
UPPER = 0.6  # Rose's default; nothing here was tuned on the sets that are reported
TITLES = {"vanilla": "vanilla AdamW", "rose-ensemble": "ROSE-Ensemble", "static-mask": "static mask"}


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
    """Three runs by what they are called.

    The static mask is the control: as many tensors as ROSE keeps, those that it kept most often, frozen or free from
    the first step on.

    Args:
        task, text_columns, label_column: as in :class:`~rosetune.runs.config.RunConfig`.
        data_dir: of GLUE's and AdvGLUE's files; adds AdvGLUE where it covers the task.
        samples: training sentences, one epoch in batches of 16.
    """
    folder = f"{output_dir}/{folder_name(task)}"
    known = find_task(task)
    adversarial = data_dir is not None and known is not None and bool(known.advglue)
    methods: dict[str, dict[str, Any]] = {
        "vanilla": {},
        "rose-ensemble": {
            "update_mask": "rose",
            "update_mask_kwargs": {"order": "ensemble", "upper": UPPER, "trace": True},
        },
        "static-mask": {
            "update_mask": "static",
            "update_mask_kwargs": {"trace": f"{folder}/rose-ensemble/mask_trace.npz", "upper": UPPER},
        },
    }
    return {
        name: RunConfig(
            task=task,
            model_name_or_path=model_name_or_path,
            data_dir=data_dir,
            text_columns=text_columns,
            label_column=label_column,
            max_length=64,
            max_train_samples=samples,
            sets=("clean", "noise", *(("advglue",) if adversarial else ())),
            output_dir=f"{folder}/{name}",
            training={**TRAINING, "seed": seed, **method},
        )
        for name, method in methods.items()
    }


def run_demo(report: Callable[[str], Any] = print, **options: Any) -> dict[str, Run]:
    """Train the plan one run after the other; each resumes where it was killed.

    Args:
        report: takes a line of text for the person who waits.
        options: of :func:`demo_plan`.

    Returns:
        The three runs by their titles.
    """
    plan, runs = demo_plan(**options), {}
    for number, (name, config) in enumerate(plan.items(), start=1):
        report(f"\n[{number}/{len(plan)}] {TITLES[name]}")
        (folder,) = run_all([config], report)
        runs[TITLES[name]] = Run.open(folder)
    return runs
