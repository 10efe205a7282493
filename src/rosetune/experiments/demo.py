"""The main job: vanilla fine-tuning against ROSE-Ensemble, on the same data and seed, with controls beside them."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rosetune.data.tasks import find_task
from rosetune.experiments.config import RunConfig, folder_name
from rosetune.experiments.evaluate import read_metrics, read_predictions
from rosetune.experiments.train import train_run
from rosetune.experiments.sets import ORIGINALS
from rosetune.experiments.tables import accuracy_cell, console, difference_cell, set_title, verdicts
from rosetune.robustness.rows import compare_rows

__all__ = ["Arm", "print_demo", "run_demo"]

TITLES = {"vanilla": "vanilla AdamW", "rose-ensemble": "ROSE-Ensemble", "static-mask": "static mask"}
TRAINING = {"learning_rate": 1e-4, "num_train_epochs": 1, "per_device_train_batch_size": 16}
UPPER = 0.6  # Rose's default; nothing here was tuned on the sets that are reported


@dataclass(frozen=True)
class Arm:
    """One finished run of the demo."""

    title: str
    metrics: dict[str, Any]
    predictions: dict[str, list[dict[str, Any]]]
    step_seconds: float | None


def run_demo(
    *,
    task: str = "demo",
    data_dir: str | None = None,
    text_columns: Any = None,
    label_column: str | None = None,
    model_name_or_path: str = "demo",
    output_dir: str = "runs/demo",
    samples: int = 1800,
    seed: int = 42,
    report: Callable[[str], Any] = print,
) -> list[Arm]:
    """Train three arms one after the other; each resumes where it was killed.

    Args:
        task, text_columns, label_column: as in :class:`RunConfig`.
        data_dir: of GLUE's and AdvGLUE's files; adds AdvGLUE where it covers the task.
        samples: training sentences, one epoch in batches of 16.

    Returns:
        Vanilla, ROSE-Ensemble, and a static mask: as many tensors as ROSE keeps, those that it kept most often,
        frozen or free from the first step on.
    """
    folder = Path(output_dir).expanduser() / folder_name(task)
    known = find_task(task)
    adversarial = data_dir is not None and known is not None and bool(known.advglue)
    rose = {"order": "ensemble", "upper": UPPER, "trace": True}
    static = {"trace": str(folder / "rose-ensemble" / "mask_trace.npz"), "upper": UPPER}
    methods: dict[str, dict[str, Any]] = {
        "vanilla": {},
        "rose-ensemble": {"update_mask": "rose", "update_mask_kwargs": rose},
        "static-mask": {"update_mask": "static", "update_mask_kwargs": static},
    }
    configs = {
        name: RunConfig(
            task=task,
            model_name_or_path=model_name_or_path,
            data_dir=data_dir,
            text_columns=text_columns,
            label_column=label_column,
            max_length=64,
            max_train_samples=samples,
            sets=("clean", "noise", *(("advglue",) if adversarial else ())),
            output_dir=str(folder / name),
            training={**TRAINING, "seed": seed, **method},
        )
        for name, method in methods.items()
    }
    arms = []
    for number, (name, title) in enumerate(TITLES.items(), start=1):
        report(f"\n[{number}/{len(TITLES)}] {title}")
        path = train_run(configs[name], report)
        timing = json.loads((path / "timing.json").read_text(encoding="utf-8"))
        arms.append(Arm(title, read_metrics(path), read_predictions(path), timing["median_step_seconds"]))
    return arms


def print_demo(arms: list[Arm], task: str, out: Console | None = None) -> None:
    """The table and what it does and does not show."""
    vanilla, rose, static = arms
    out = out or console()
    out.print()
    out.print(_table(vanilla, rose, static, task, out.width))
    out.print("Differences are paired on the same examples. The constant predicts one label always.\n")
    for baseline in (vanilla, static):
        out.print(f"[bold]{rose.title} against {baseline.title}[/bold]")
        for line in verdicts(baseline.predictions, rose.predictions, rose.title):
            out.print(Text(f"  {line}"))
    out.print("\nOne seed: the intervals cover the choice of test sentences, not the luck of a training run.")


def _table(vanilla: Arm, rose: Arm, static: Arm, task: str, width: int) -> Table:
    sets = [name for name in vanilla.predictions if not name.startswith(ORIGINALS)]
    # An interval goes below its number where a line cannot hold all of them.
    gap = " " if 24 + 18 * len(sets) <= width else "\n"
    title = Text(f"Accuracy in % [95% interval] on {task}")
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("", no_wrap=True)
    for name in sets:
        header = f"{set_title(name)}\n(n = {len(vanilla.predictions[name])})"
        table.add_column(header, justify="right", overflow="fold")
    table.add_column("a step\ncosts", justify="right")
    for arm in (vanilla, rose, static):
        table.add_row(
            arm.title, *(accuracy_cell(arm.metrics["sets"][name], gap) for name in sets), _cost(arm, vanilla)
        )
    constants = [vanilla.metrics["sets"][name]["constant"]["accuracy"] for name in sets]
    table.add_row("constant", *(f"{100 * value:.1f}" for value in constants), "", end_section=True)
    for name, a, b in (("ROSE - vanilla", vanilla, rose), ("ROSE - static", static, rose)):
        table.add_row(
            name, *(difference_cell(compare_rows(a.predictions[n], b.predictions[n]), gap) for n in sets), ""
        )
    return table


def _cost(arm: Arm, vanilla: Arm) -> str:
    if not arm.step_seconds or not vanilla.step_seconds:
        return "?"
    return f"{arm.step_seconds / vanilla.step_seconds:.2f} x"
