"""Each limit of a gate holds once and fails once, by the exit code of the installed program; ``make wheel`` calls it.

``python -P tests/demo_gates.py RUN``, of a finished run with labels, typing errors and an attack. It works on two
copies in a folder that is removed: one has groups; the other is worse as well, so that no figure of it is perfect.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from rosetune.runs.gate_limits import LIMITS
from rosetune.runs.metrics import run_metrics
from rosetune.runs.run import Run

Row = dict[str, Any]


def rewrite(path: Path, changed: Callable[[int, Row], Row]) -> None:
    """A file of JSON Lines, with each line that holds a row changed."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    path.write_text("".join(json.dumps(changed(i, row)) + "\n" for i, row in enumerate(rows)), encoding="utf-8")


def copy(run: Path, folder: Path, worse: bool) -> Path:
    """The run with two groups; worse: a tenth of clean and a fifth of noisy rows wrong, every attack a success."""
    shutil.copytree(run, folder, ignore=shutil.ignore_patterns("model"))
    predictions, labels = folder / "predictions", Run(folder).labels

    def wrong(row: Row) -> Row:
        other = labels[(labels.index(row["gold"]) + 1) % len(labels)]
        return {**row, "prediction": other, "logits": [40.0 * (label == other) for label in labels]}

    if worse:
        for path in predictions.glob("*.jsonl"):
            every = 10 if path.stem == "clean" else 5
            rewrite(path, lambda i, row, every=every: row if i % every else wrong(row))
        for path in (folder / "attacks").glob("*.jsonl"):
            rewrite(path, lambda i, row: {**row, "status": "success"} if row.get("status") == "failed" else row)
    features = json.loads((predictions / "features.json").read_text(encoding="utf-8"))
    half = {row: "odd" if i % 2 else "even" for i, row in enumerate(features["clean"]["words"])}
    features["clean"]["groups"] = {"half": half}
    (predictions / "features.json").write_text(json.dumps(features), encoding="utf-8")
    (folder / "measures.json").write_text(json.dumps({"group_column": "half"}), encoding="utf-8")
    (folder / "metrics.json").write_text(json.dumps(run_metrics(folder, labels)), encoding="utf-8")
    return folder


def gate(*words: object) -> tuple[int, list[dict[str, Any]]]:
    """The exit code, and the checks."""
    command = [sys.executable, "-P", "-m", "rosetune", "gate", *map(str, words), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode in (0, 1), done.stderr
    return done.returncode, json.loads(done.stdout)["checks"]


def worst(checks: list[dict[str, Any]], limit: str) -> float:
    """The figure of the set that decides."""
    return (min if limit.startswith("min") else max)(check["value"] for check in checks if check["limit"] == limit)


def judge(limit: str, good: Path, bad: Path, measured: dict[Path, list[dict[str, Any]]]) -> str:
    """Two gates: one at the measured figure, one of the worse run halfway from its figure to a perfect one."""
    against = {
        one: ("--baseline", other) if limit == "max_decline" else () for one, other in ((good, bad), (bad, good))
    }
    holds, figure = max(0.0, worst(measured[good], limit)), worst(measured[bad], limit)
    code, checks = gate(good, f"--{limit}", holds, *against[good])
    assert code == 0, (limit, holds, checks)
    fails = (figure + 1) / 2 if limit.startswith("min") else figure / 2
    code, checks = gate(bad, f"--{limit}", fails, *against[bad])
    failed = [check["set"] for check in checks if check["limit"] == limit and not check["holds"]]
    assert code == 1, (limit, fails, checks)
    assert failed, (limit, fails, checks)
    return f"{limit}: holds at {holds:.3g}, and of a worse run fails at {fails:.3g} ({', '.join(failed)})"


def main(run: Path) -> None:
    """All limits, two at a time."""
    points = ("max_drop", "max_decline")
    # At these bounds everything holds, but for the rule of the baseline.
    ends = {limit: 0 if limit.startswith("min") else 100 if limit in points else 1 for limit in LIMITS}
    loose = [word for limit, end in ends.items() for word in (f"--{limit}", end)]
    with tempfile.TemporaryDirectory(prefix="rosetune-") as place, ThreadPoolExecutor(2) as two:
        good, bad = copy(run, Path(place, "good"), False), copy(run, Path(place, "bad"), True)
        measured = {one: gate(one, "--baseline", other, *loose)[1] for one, other in ((good, bad), (bad, good))}
        for said in two.map(lambda limit: judge(limit, good, bad, measured), LIMITS):
            print(said)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
