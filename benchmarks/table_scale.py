"""What `rosetune table` takes for many runs: seconds and peak memory of a fresh process, start included.

The runs are made up from two tiny ones that are trained first: each copy has the files that a finished run is read
from, with predictions, another seed, method or task in run.json and config.yaml, and accuracies that differ a little.

    python benchmarks/table_scale.py [--runs 250,500,1000] [--json]
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import yaml

SEEDS, TASKS = 5, ("sst2", "rte", "qnli", "qqp")
READ = ("metrics.json", "run.json", "config.yaml", "environment.json", "timing.json", "predictions", "log.jsonl")


def train(home: Path) -> None:
    """Vanilla and ROSE on a tiny model, with the noise curve, whose metrics are the longest."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
    from rosetune.experiments.train import train_run
    from tiny_run import config, write_csv, write_model

    write_csv(home / "my.csv", rows=400)
    write_model(home / "model")
    rose = {"update_mask": "rose", "update_mask_kwargs": {"order": "ensemble", "upper": 0.6}}
    for name, training in (("vanilla", {}), ("rose", rose)):
        train_run(config(home, name, training=training, sets=("clean", "noise", "noise_curve")), lambda line: None)


def make(sources: list[Path], home: Path, number: int) -> None:
    """So many runs: four tasks, five seeds, and as many methods (values of a threshold) as that takes."""
    rng = np.random.default_rng(0)
    for i in range(number):
        seed, task, method = i % SEEDS + 1, TASKS[i // SEEDS % len(TASKS)], i // (SEEDS * len(TASKS))
        source, folder = sources[method > 0], home / task / f"method-{method}" / f"seed-{seed}"
        folder.mkdir(parents=True)
        for name in READ:
            if (source / name).is_dir():
                shutil.copytree(source / name, folder / name, copy_function=os.link)
            elif (source / name).is_file():
                shutil.copyfile(source / name, folder / name)
        identity, options = (
            json.loads((folder / "run.json").read_text()),
            yaml.safe_load((folder / "config.yaml").read_text()),
        )
        for values in (identity["training"], options):
            values["seed"] = seed
            if method:
                values["update_mask_kwargs"] = {"order": "ensemble", "upper": round(method / (1 + number), 6)}
        identity["task"] = task
        metrics = json.loads((folder / "metrics.json").read_text())
        for part in metrics["sets"].values():
            part["accuracy"] = float(np.clip(part["accuracy"] + rng.normal(0, 0.01), 0, 1))
        (folder / "run.json").write_text(json.dumps(identity))
        (folder / "config.yaml").write_text(yaml.safe_dump(options))
        (folder / "metrics.json").write_text(json.dumps(metrics, indent=2))


def measure(home: Path) -> dict[str, Any]:
    """One call, with what it printed thrown away."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "rosetune", "table", str(home), "--sets", "clean,noise", "--format", "csv"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"rosetune table ended with {os.waitstatus_to_exitcode(status)}")
    memory = usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    busy = usage.ru_utime + usage.ru_stime
    return {"seconds": round(time.perf_counter() - start, 2), "cpu_seconds": round(busy, 2), "mib": round(memory)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", default="250,500,1000", help="how many, with commas between several counts")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--train", type=Path, help=argparse.SUPPRESS)
    known = parser.parse_args()
    if known.train:
        return train(known.train)
    found = {}
    with tempfile.TemporaryDirectory() as temporary:
        home = Path(temporary)
        # In a process of its own: a child's peak memory counts what its parent held when it was started.
        subprocess.run([sys.executable, __file__, "--train", home], check=True)
        sources = [home / "vanilla", home / "rose"]
        for number in map(int, known.runs.split(",")):
            make(sources, home / f"runs-{number}", number)
            found[number] = measure(home / f"runs-{number}")
            if not known.json:
                print(
                    "{:>6} runs: {seconds:6.2f} s, {cpu_seconds:6.2f} s of the processor, {mib:5d} MiB".format(
                        number, **found[number]
                    ),
                    flush=True,
                )
    if known.json:
        print(json.dumps(found))


if __name__ == "__main__":
    main()
