"""Seconds a grid point and peak memory of a loss landscape, beside a plain loop over the grid.

    python benchmarks/landscape_speed.py MODEL FILE --examples 256 --points 3

The plain loop draws the directions for all weights, writes each point into a copy of the model and runs it over
batches of 32 rows in the order of the file, padded to 128 tokens as in the paper's scripts (``--padding 128``) or to
the longest row of the batch. MODEL is a hub id, a folder or demo; FILE has the columns ``sentence`` and ``label``.
"""

import argparse
import copy
import json
import resource
import time

import pandas as pd
import torch

from rosetune.analysis.batches import make_batches
from rosetune.analysis.directions import random_direction
from rosetune.analysis.landscape import landscape_rows
from rosetune.analysis.surface import grid_axis
from rosetune.analysis.weights import MeanLoss
from rosetune.experiments.models import load_classifier, load_tokenizer


def plain(model, batches, points) -> list[float]:
    """Mean losses, a full copy of the weights for each point and both directions."""
    moved, theta = copy.deepcopy(model).eval(), {n: p.detach().clone() for n, p in model.named_parameters()}
    delta, eta = ({n: torch.randn_like(p) * p.norm() / p.numel() ** 0.5 for n, p in theta.items()} for _ in range(2))
    found = []
    for a, b in points:
        moved.load_state_dict({n: theta[n] + a * delta[n] + b * eta[n] for n in theta}, strict=False)
        with torch.no_grad():
            losses = [moved(**batch).loss * len(batch["labels"]) for batch in batches]
        found.append(float(sum(losses)) / sum(len(batch["labels"]) for batch in batches))
    return found


def now() -> int:
    """Bytes of memory that this process holds."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def ratios(measured: dict[str, dict[str, float]]) -> dict[str, float]:
    """How many times as fast as the plain loop ours is, by what was measured; nothing where only one ran."""
    both = {what: each for what, each in measured.items() if {*each} == {"ours", "plain"}}
    return {what: round(each["plain"] / each["ours"], 2) for what, each in both.items()}


def main() -> None:
    """Measure and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("file")
    parser.add_argument("--examples", type=int, default=256)
    parser.add_argument("--points", type=int, default=3, help="of one row of the grid")
    parser.add_argument("--padding", type=int, default=None, help="tokens; default: the longest row of a batch")
    parser.add_argument("--only", choices=("plain", "ours"), help="to measure the memory of one")
    known = parser.parse_args()
    frame = pd.read_csv(known.file, sep=None, engine="python", quoting=3).head(known.examples)
    tokenizer = load_tokenizer(known.model, 128)
    model = load_classifier(known.model, ["0", "1"], tokenizer).eval()
    model.load_state_dict({name: tensor.clone() for name, tensor in model.state_dict().items()}, assign=True)
    texts, labels = frame["sentence"].tolist(), frame["label"].tolist()
    size = sum(p.numel() * p.element_size() for p in model.parameters())
    with torch.no_grad():  # what a first forward loads is no part of the analysis
        model(**tokenizer(texts[:8], padding=True, truncation=True, return_tensors="pt"))
    before = now() - size
    axis = grid_axis(0.25, known.points)
    seconds: dict[str, float] = {}
    clock: dict[str, float] = {}
    if known.only != "plain":
        of = MeanLoss(model, make_batches(model, tokenizer, [texts], labels))
        directions = random_direction(of, 0), random_direction(of, 1)
        start, began = time.process_time(), time.perf_counter()
        next(landscape_rows(of, directions, axis, axis, [0]))
        seconds["ours"] = (time.process_time() - start) / known.points
        clock["ours"] = (time.perf_counter() - began) / known.points
    if known.only != "ours":
        how = {"padding": "max_length", "max_length": known.padding} if known.padding else {"padding": True}
        batches = []
        for start_row in range(0, len(texts), 32):
            batch = tokenizer(texts[start_row : start_row + 32], truncation=True, return_tensors="pt", **how)
            batches.append({**batch, "labels": torch.tensor(labels[start_row : start_row + 32])})
        start, began = time.process_time(), time.perf_counter()
        plain(model, batches, [(float(a), 0.1) for a in axis])
        seconds["plain"] = (time.process_time() - start) / known.points
        clock["plain"] = (time.perf_counter() - began) / known.points
    measured = {"processor_seconds_a_point": seconds, "seconds_a_point": clock}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(
        json.dumps(
            {
                **{what: {name: round(value, 3) for name, value in each.items()} for what, each in measured.items()},
                "times_as_fast_as_plain": ratios(measured),
                "threads": torch.get_num_threads(),
                "model_mib": round(size / 2**20, 1),
                # Whatever was in memory beside the model, as libraries are, does not count.
                "peak_in_models": round((peak - before) / size, 2),
            }
        )
    )


if __name__ == "__main__":
    main()
