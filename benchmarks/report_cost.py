"""Seconds and size of `rosetune report`, by the number of runs.

The runs are made up: five methods with two seeds, predicted at random, copied to as many tasks and seeds as asked for.
Each has a clean set, typing errors, the noise curve, AdvGLUE, two attacks of 200 rows, a log and a mask trace; plain
AdamW has ten evaluated checkpoints.

    python benchmarks/report_cost.py [--runs 25,50,100] [--rows 872] [--keep FOLDER]
"""

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from made_runs import write_attack, write_json, write_lines, write_run
from rosetune.mask_trace import MaskTrace
from rosetune.report.html.page import write_report
from rosetune.robustness.noise_families import NOISES

ROSE = {"update_mask": "rose"}
METHODS: dict[str, tuple[float, dict[str, Any]]] = {
    "vanilla": (0.90, {}),
    "r-drop": (0.91, {"objective": "r_drop"}),
    "rose-first": (0.89, {**ROSE, "update_mask_kwargs": {"order": "first", "trace": True}}),
    "rose-second": (0.90, {**ROSE, "update_mask_kwargs": {"order": "second", "trace": True}}),
    "rose-ensemble": (0.88, {**ROSE, "update_mask_kwargs": {"order": "ensemble", "trace": True}}),
}
TASKS = ("sst2", "rte", "qqp", "qnli")
LAYERS = 6
WORDS = (
    "the",
    "film",
    "was",
    "rather",
    "good",
    "its",
    "plot",
    "quite",
    "warm",
    "every",
    "scene",
    "felt",
    "dull",
    "long",
)


def make(folder: Path, number: int, accuracy: float, training: dict[str, Any], rows: int) -> None:
    """One run with everything that a run can have."""
    rng = np.random.default_rng(number)

    def right(share: float, n: int) -> np.ndarray:
        return (rng.random(n) < share).astype(int)

    noise = {
        f"{name}@{strength}": right(accuracy - 0.5 * strength, rows)
        for name in NOISES
        for strength in (0.05, 0.1, 0.25, 0.5)
    }
    sets = {"clean": right(accuracy, rows), "typos_1": right(accuracy - 0.04, rows), "typos_2": right(0.8, rows)}
    steps = {
        step: {"clean": right(0.6 + step / 400, rows), "typos_1": right(0.6 + step / 600, rows),
               "advglue": right(0.45 - step / 1000, 148)}
        for step in range(10, 110, 10)
    }  # fmt: skip
    vanilla = not training
    run = write_run(
        folder, {**sets, **noise, "advglue": right(0.35, 148)}, {"learning_rate": 2e-5, "max_steps": 100, **training},
        steps=steps if vanilla else None, end=100 if vanilla else None, metrics=True,
    )  # fmt: skip
    for attack in ("pwws", "deepwordbug"):
        statuses = rng.choice(["success", "failed", "skipped"], 200, p=[0.5, 0.4, 0.1])
        write_attack(run, statuses.tolist(), attack)
        _lengthen(folder / "attacks" / f"{attack}.jsonl", random.Random(number))
    terms = ("loss", "task_loss", "consistency", "grad_norm", "mask_density_tensors")
    log = [
        {"step": step, "epoch": step / 50, **{t: 0.7 / (1 + step / 40) + 0.02 * rng.random() for t in terms}}
        for step in range(1, 101, 3)
    ]
    write_lines(folder / "log.jsonl", log)
    write_json(folder / "timing.json", {"training_seconds": 120.5, "steps": 100, "median_step_seconds": 1.2})
    packages = {"rosetune": "0.1.0", "torch": "2.13.0"}
    write_json(folder / "environment.json", {"python": "3.11.7", "packages": packages, "device": "cpu", "threads": 2})
    if "trace" in training.get("update_mask_kwargs", {}):
        names = tuple(f"encoder.layer.{i}.{part}.weight" for i in range(LAYERS) for part in ("query", "key", "dense"))
        share = np.linspace(0.2, 0.9, len(names))
        kept = (rng.random((500, len(names))) < share).astype(np.float32)
        MaskTrace(names, np.full(len(names), 147_456), kept).save(folder / "mask_trace.npz")


def _lengthen(path: Path, rng: random.Random) -> None:
    """Sentences of 20 words in the place of the short ones, three of them changed."""
    header, *results = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    for result in results:
        words = [rng.choice(WORDS) for _ in range(20)]
        changes = [[i, words[i], words[i][::-1]] for i in sorted(rng.sample(range(20), 3))]
        after = {i: new for i, _, new in changes}
        result |= {"texts": [" ".join(words)], "changes": changes}
        result["perturbed"] = [" ".join(after.get(i, word) for i, word in enumerate(words))]
    write_lines(path, [header, *results])


def copy(source: Path, target: Path, task: str, seed: int) -> None:
    """The same run with another task and seed."""
    shutil.copytree(source, target)
    identity = json.loads((target / "run.json").read_text(encoding="utf-8"))
    write_json(target / "run.json", {**identity, "task": task, "training": {**identity["training"], "seed": seed}})
    options = yaml.safe_load((target / "config.yaml").read_text(encoding="utf-8"))
    (target / "config.yaml").write_text(yaml.safe_dump({**options, "task": task, "seed": seed}), encoding="utf-8")


def main() -> None:
    """Make the runs, and print a line for each number of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", default="25,50,100", help="how many, with commas between")
    parser.add_argument("--rows", type=int, default=872, help="of the clean set")
    parser.add_argument("--keep", help="folder for the runs and the pages")
    known = parser.parse_args()
    counts = [int(part) for part in known.runs.split(",")]
    home = Path(known.keep or tempfile.mkdtemp())
    for i, (method, (accuracy, training)) in enumerate(METHODS.items()):
        for seed in (0, 1):
            if not (home / "few" / f"{method}-{seed}").is_dir():
                make(home / "few" / f"{method}-{seed}", 2 * i + seed, accuracy, training, known.rows)
    for count in counts:
        folder = home / f"runs-{count}"
        for number in range(0 if folder.is_dir() else count):
            method = [*METHODS][number % len(METHODS)]
            task, seed = TASKS[number // len(METHODS) % len(TASKS)], number // (len(METHODS) * len(TASKS))
            target = folder / task / f"{method}-{seed}"
            copy(home / "few" / f"{method}-{(seed + number) % 2}", target, task, seed)
        start = time.perf_counter()
        page = write_report(
            [str(folder)], home / f"report-{count}.html", report=lambda line: print(line, file=sys.stderr)
        )
        seconds = time.perf_counter() - start
        print(f"{count} runs: {seconds:.1f} s, {page.stat().st_size / 1e6:.2f} MB", flush=True)
    if known.keep is None:
        shutil.rmtree(home)


if __name__ == "__main__":
    main()
