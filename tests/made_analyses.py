"""What analyses leave in a run's folder, made up, importable as ``made_analyses``."""

from typing import Any

import numpy as np

from rosetune.analysis.surface import grid_axis
from rosetune.experiments.subjects import Subject, place
from rosetune.runs.analysed import Analysis, analysis_file
from rosetune.runs.run import Run

ROWS = {"examples": 64, "split": "clean", "seed": 0, "data": "x"}
PARTS = ("attention.self.query", "attention.self.key", "attention.output.dense", "output.dense")
NAMES = [
    *(["embeddings.word_embeddings.weight"]),
    *(f"encoder.layer.{layer}.{part}.weight" for layer in range(4) for part in PARTS),
    "classifier.weight",
]


def write_analyses(run: Run, points: int = 51, sharpness: float = 20.0, other: str = "vanilla") -> None:
    """All six kinds, of a run with four layers."""
    rng = np.random.default_rng(round(sharpness))
    axis = grid_axis(0.25, points)
    a, b = np.meshgrid(axis, axis)
    loss = 0.2 + sharpness * (a**2 + 2 * b**2 + 0.5 * a * b) + 0.05 * np.sin(20 * a) ** 2
    grid = {"alpha": axis, "beta": axis, "loss": loss, "accuracy": 1 / (1 + loss)}
    write_analysis(run, "landscape", grid, points=points, span=0.25, normalise="filter")

    alpha = np.linspace(-0.5, 1.5, 51)
    line = 0.3 + sharpness / 10 * ((alpha - 0.5) ** 2 - 0.25) ** 2
    arrays = {"alpha": np.union1d(alpha, (0.0, 1.0))}
    arrays["loss"] = np.interp(arrays["alpha"], alpha, line)
    arrays["accuracy"] = 1 - arrays["loss"] / 4
    write_analysis(run, "interpolation", arrays, {"other_name": other, "other_method": other}, points=51, other=other)

    numbers = {"loss": 0.2, "top": 10 * sharpness, "trace": 50 * sharpness, "trace_error": sharpness}
    arrays = {name: np.array(value) for name, value in numbers.items()}
    write_analysis(run, "hessian", {**arrays, "trace_samples": rng.random(4)}, samples=4, tolerance=0.001)

    for step in (200, 600, 2000):
        arrays = {
            "share": np.array(0.1 + step / 1e5),
            "standard_error": np.array(0.01),
            "rows": rng.random((1, 64)) < 0.1,
        }
        write_analysis(run, "disagreement", arrays, {"at": step}, step=step, pairs=1)

    sizes = np.array([9000, *([1024, 1024, 1024, 4096] * 4), 64])
    first = rng.random((4, len(NAMES))) + np.linspace(0, 2, len(NAMES))
    masks = {
        "first": first,
        "again": first + 0.1 * rng.random(first.shape),
        "half": first + 0.5 * rng.random(first.shape),
    }
    drawn = {**masks, "second": rng.random(len(NAMES)), "sizes": sizes, "norms": np.sqrt(sizes)}
    write_analysis(run, "masks", {"names": np.array(NAMES), **drawn}, {"upper": 0.6}, batch_size=32)

    distance = np.linspace(0.01, 0.3, len(NAMES)) * sharpness / 20
    write_analysis(run, "drift", {"names": np.array(NAMES), "distance": distance, "norm": np.ones(len(NAMES))})


def write_analysis(
    run: Run,
    kind: str,
    arrays: dict[str, Any],
    more: dict[str, Any] | None = None,
    step: int | None = None,
    **settings: Any,
) -> None:
    """One file, with the description that it has when it is computed."""
    decided = {**({} if kind == "drift" else ROWS), **settings, "step": step}
    about = {"kind": kind, "name": str(run), "method": run.method, "task": run.task, "run_seed": run.seed}
    about["setting"] = place(kind, Subject(run), {})[1]["setting"]
    about |= {"guess": float(np.log(2)), "settings": decided, **(more or {})}
    Analysis(analysis_file(run.folder, kind, decided), about, arrays).write()
