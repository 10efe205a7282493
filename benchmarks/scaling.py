"""How the cost of a step grows: seconds and peak memory over batch, length, depth, width and number of tensors.

A BERT classifier with random weights; all methods of a point take turns in one process (see step_cost.py). "tensors"
is how many of the weights a mask ranks. "mask alone" is what ROSE-Second does once its gradients are there, norms and
ranking, in % of a plain step. Writes scaling.json, scaling.md and scaling.svg into a folder.

    python benchmarks/scaling.py [--out FOLDER] [--quick] [--rounds N] [--methods A,B] [--cpu_time]
                                 [--lengths FILE | --data_dir FOLDER --task NAME]

Lengths (tokens of each text: a JSON list, or a number a line) or a task's own add the cost of an epoch: texts padded
to 128, to the longest of a random batch, and to that of a batch of texts of one length.
"""

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from step_cost import METHODS, batches, measure, ours
from transformers import BertConfig, BertForSequenceClassification

from rosetune import CrossEntropy, Rose, SelectiveAdamW
from rosetune._files import write_json, write_text
from rosetune.data.by_length import GroupedByLength
from rosetune.data.sources import load_task
from rosetune.experiments.models import load_tokenizer, quiet_libraries
from rosetune.report.drawing import drawing

Point = dict[str, Any]
# MiniLM's size, of which one thing changes at a time. Tensors: 8 a layer.
BASE = {"batch": 32, "length": 32, "depth": 6, "width": 384, "tensors": 48}
AXES = {
    "batch": (8, 16, 32, 64),
    "length": (8, 16, 32, 64, 128),
    "depth": (2, 6, 12),
    "width": (192, 384, 768),
    "tensors": (8, 24, 48),
}
SMALL = {"batch": 4, "length": 8, "depth": 2, "width": 64, "tensors": 16}
SMALL_AXES = {"batch": (4, 8), "length": (8, 128), "depth": (2, 3), "width": (64, 128), "tensors": (8, 16)}
DEFAULT = "vanilla,rose_second,rose_first,rose_first_sketched,rose_first_economy,r_drop"
PADDED = 128  # the published code's
_MARKERS = "os^Dvph*"


def points(base: Point, axes: dict[str, tuple[int, ...]]) -> Iterator[tuple[str, Point]]:
    """Each axis and a point on it; depth takes all of its tensors."""
    for axis, values in axes.items():
        for value in values:
            point = {**base, axis: value}
            yield axis, {**point, "tensors": 8 * value} if axis == "depth" else point


def classifier(point: Point) -> torch.nn.Module:
    """In train mode, with MiniLM's vocabulary."""
    torch.manual_seed(0)
    config = BertConfig(
        hidden_size=point["width"],
        num_hidden_layers=point["depth"],
        num_attention_heads=max(1, point["width"] // 32),
        intermediate_size=4 * point["width"],
        max_position_embeddings=512,
    )
    return BertForSequenceClassification(config).train()


def cost(point: Point, methods: list[str], rounds: int, clock: Callable[[], float], said: str) -> Point:
    """The point with its number of parameters and what each method takes."""
    data = batches(point["batch"], point["length"])
    layers = "|".join(str(layer) for layer in range(point["tensors"] // 8))
    masked = {"target_parameters": rf"\.layer\.({layers})\..+weight$"}
    steps = {name: ours(name, classifier(point), data, more=masked if METHODS[name][2] else None) for name in methods}
    size = sum(p.numel() for p in classifier(point).parameters())
    found = measure(steps, data, rounds, clock, said)
    return {**point, "parameters": size, "mask_seconds": mask_alone(point, masked, clock), "methods": found}


def mask_alone(point: Point, options: dict[str, Any], clock: Callable[[], float], times: int = 9) -> float:
    """Median seconds that a mask of second order takes between a backward pass and the optimizer's update."""
    model, mask = classifier(point), Rose("second", **options)
    optimizer = SelectiveAdamW(model.named_parameters(), lr=1e-5, update_mask=mask, fused=True)
    for _ in range(2):  # the first step makes the moments
        optimizer.zero_grad()
        CrossEntropy()(model, next(batches(point["batch"], point["length"]))).loss.backward()
        optimizer.step()
    taken = []
    for _ in range(times):
        start = clock()
        mask(optimizer)
        taken.append(clock() - start)
    return statistics.median(taken)


def read_lengths(args: argparse.Namespace) -> list[int] | None:
    """Tokens of each training text; None where no texts are named."""
    if args.lengths is not None:
        text = Path(args.lengths).read_text(encoding="utf-8").strip()
        return json.loads(text) if text.startswith("[") else [int(line) for line in text.split()]
    if args.task is None:
        return None
    data, tokenizer = load_task(args.task, data_dir=args.data_dir), load_tokenizer("demo", PADDED)
    rows = data.splits["train"]
    ids = tokenizer(*(rows[column][:] for column in data.text_columns), truncation=True)["input_ids"]
    return [len(each) for each in ids]


def epoch(lengths: list[int], rows: int, measured: list[Point]) -> dict[str, Any]:
    """Seconds of an epoch and tokens that it pads to, by how it pads.

    The seconds of a batch are read off those of the measured lengths, linearly between them.
    """
    texts = np.minimum(lengths, PADDED)
    shuffled = np.random.default_rng(0).permutation(len(texts))
    grouped = [*GroupedByLength(texts.tolist(), rows)]
    orders = {"padded to 128": (shuffled, PADDED), "dynamic padding": (shuffled, 0), "grouped by length": (grouped, 0)}
    known = sorted(point["length"] for point in measured)
    at = {point["length"]: point for point in measured}
    found: dict[str, Any] = {"texts": len(texts), "mean_length": float(texts.mean()), "ways": {}}
    for way, (order, least) in orders.items():
        parts = [texts[order[i : i + rows]] for i in range(0, len(texts), rows)]
        longest = np.array([max(least, part.max()) for part in parts])
        full = np.array([len(part) / rows for part in parts])  # the last one is smaller
        seconds = {
            name: float(full @ np.interp(longest, known, [at[length]["methods"][name]["seconds"] for length in known]))
            for name in measured[0]["methods"]
        }
        found["ways"][way] = {"tokens": int(rows * full @ longest), "seconds": seconds}
    return found


def tables(result: dict[str, Any]) -> str:
    """Markdown: a row for each point, and for each way to pad."""
    names = list(result["points"][0]["methods"])
    head = ["", *(f"{name}, MiB" for name in names), "mask alone"]
    lines = [result["what"], "", "| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(names) + 1)]
    for point in result["points"]:
        found = point["methods"]
        cells = [f"{found['vanilla']['seconds']:.3f} s, {memory(found['vanilla'])}"]
        cells += [f"{found[name]['ratio']:.2f}, {memory(found[name])}" for name in names[1:]]
        cells.append(f"{100 * point['mask_seconds'] / found['vanilla']['seconds']:.1f}%")
        where = f"{point['axis']} {point[point['axis']]} ({point['parameters'] / 1e6:.1f} M)"
        lines.append("| " + " | ".join([where, *cells]) + " |")
    if "epoch" in result:
        texts, ways = result["epoch"], result["epoch"]["ways"]
        mean, batch = texts["mean_length"], result["base"]["batch"]
        lines += ["", f"An epoch of {texts['texts']:,} texts of {mean:.1f} tokens, {batch} a batch, in minutes:"]
        lines += ["", "| | tokens | " + " | ".join(names) + " |", "|---|---:|" + "---:|" * len(names)]
        for way, of in ways.items():
            cells = [f"{of['tokens']:,}", *(f"{of['seconds'][name] / 60:.1f}" for name in names)]
            lines.append("| " + " | ".join([way, *cells]) + " |")
    return "\n".join(lines) + "\n"


def memory(found: Point) -> str:
    return "?" if found["peak_mib"] is None else f"{found['peak_mib']:.0f}"


def draw(result: dict[str, Any], path: Path) -> None:
    """Times plain AdamW above, peak memory below, a column for each axis."""
    names = list(result["points"][0]["methods"])
    axes = list(dict.fromkeys(point["axis"] for point in result["points"]))
    with drawing(path) as figure:
        figure.set_size_inches(2.6 * len(axes), 5.2)
        panels = figure.subplots(2, len(axes), sharey="row", squeeze=False)
        for column, axis in enumerate(axes):
            here = [point for point in result["points"] if point["axis"] == axis]
            for row, (key, title) in enumerate({"ratio": "times plain AdamW", "peak_mib": "peak MiB"}.items()):
                panel = panels[row, column]
                for name, marker in zip(names, _MARKERS, strict=False):
                    heights = [point["methods"][name][key] or math.nan for point in here]
                    panel.plot([p[axis] for p in here], heights, marker=marker, markersize=4, linewidth=1, label=name)
                panel.set_xscale("log", base=2)
                panel.set_xticks([point[axis] for point in here], [str(point[axis]) for point in here])
                panel.set_xlabel(axis if row else "")
                panel.set_ylabel("" if column else title)
        for row in panels:  # which shares its axis
            row[0].set_ylim(bottom=0)
        figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=len(names))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("build/scaling"), help="folder of the results")
    parser.add_argument("--quick", action="store_true", help="tiny models, one round: whether it works")
    parser.add_argument("--rounds", type=int, help="timed turns of each method (default: 2, quick: 1)")
    parser.add_argument("--cpu_time", action="store_true", help="processor time of all threads, for a busy machine")
    parser.add_argument("--methods", default=DEFAULT, help=f"of {', '.join(METHODS)}; the first is vanilla")
    texts = parser.add_mutually_exclusive_group()
    texts.add_argument("--lengths", help="file of the texts' lengths in tokens, for the cost of an epoch")
    texts.add_argument("--task", help="whose texts, for the cost of an epoch")
    parser.add_argument("--data_dir", help="folder of that task's data")
    args = parser.parse_args()
    methods = list(dict.fromkeys(["vanilla", *args.methods.split(",")]))
    unknown = [name for name in methods if name not in METHODS or name == "rift"]
    if unknown:
        parser.error(f"--methods: no {', '.join(unknown)}; there are {', '.join(METHODS)} (rift is not measured here)")
    if len(methods) > len(_MARKERS):
        parser.error(f"--methods: at most {len(_MARKERS)}")
    quiet_libraries()
    lengths = read_lengths(args)
    base, axes = (SMALL, SMALL_AXES) if args.quick else (BASE, AXES)
    rounds = args.rounds or (1 if args.quick else 2)
    clock, seen, found = time.process_time if args.cpu_time else time.perf_counter, {}, []
    for axis, point in points(base, axes):
        key = tuple(point.values())
        if key not in seen:  # the base lies on several axes
            seen[key] = cost(point, methods, rounds, clock, f"{axis} {point[axis]}")
        found.append({"axis": axis, **seen[key]})
    what = (
        f"vanilla: seconds and MiB; others: times vanilla and MiB. {torch.get_num_threads()} threads, medians of "
        f"{rounds} turns{', processor time' if args.cpu_time else ''}. Where one thing changes, the others are "
        + ", ".join(f"{name} {value}" for name, value in base.items())
        + "."
    )
    result: dict[str, Any] = {"what": what, "torch": torch.__version__, "base": base, "points": found}
    if lengths is not None:
        of_length = [point for point in found if point["axis"] == "length"]
        result["epoch"] = epoch(lengths, base["batch"], of_length)
    write_json(args.out / "scaling.json", result)
    write_text(args.out / "scaling.md", tables(result))
    draw(result, args.out / "scaling.svg")
    print(tables(result), end="")
    print(f"\n{args.out}: scaling.json, scaling.md, scaling.svg")


if __name__ == "__main__":
    main()
