"""What one optimizer step costs, method by method, against plain AdamW.

All methods take turns in one process, so that a machine whose speed drifts slows them alike; the ratio is the median
of the per-round ratios. The model is MiniLM-L6 from the extra [demo], a batch 32 rows of 32 tokens. "published" is the
same method with its passes arranged as in its authors' code (see published.py), where that is not ours.

    python benchmarks/step_cost.py [--json] [--quick] [--cpu_time] [--rounds N] [--rows N] [--tokens N] [--methods A,B]
                                   [--model_name_or_path FOLDER] [--device cuda]
"""

import argparse
import ctypes
import gc
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from published import PUBLISHED, Step
from torch import Tensor
from tqdm import tqdm

from rosetune import SelectiveAdamW
from rosetune.experiments.models import load_classifier, load_tokenizer, quiet_libraries
from rosetune.methods import PreparedMask, SparingMask, StatefulObjective, build

# An approximation: masks that stay in force, from sketches of a quarter of the rows.
ECONOMY = {"refresh": 8, "consistency_share": 0.25, "sketch": 16}
# Name: objective, its options, update mask, its options.
METHODS: dict[str, tuple[str, dict[str, Any], str | None, dict[str, Any]]] = {
    "vanilla": ("cross_entropy", {}, None, {}),
    "label_smoothing": ("cross_entropy", {"label_smoothing": 0.1}, None, {}),
    "rose_second": ("cross_entropy", {}, "rose", {"order": "second"}),
    "rose_first": ("cross_entropy", {}, "rose", {"order": "first"}),
    "rose_first_sketched": ("cross_entropy", {}, "rose", {"order": "first", "sketch": 16}),
    "rose_first_economy": ("cross_entropy", {}, "rose", {"order": "first", **ECONOMY}),
    "rose_ensemble": ("cross_entropy", {}, "rose", {"order": "ensemble"}),
    "rose_ensemble_sketched": ("cross_entropy", {}, "rose", {"order": "ensemble", "sketch": 16}),
    "rose_ensemble_economy": ("cross_entropy", {}, "rose", {"order": "ensemble", **ECONOMY}),
    "r_drop": ("r_drop", {}, None, {}),
    "r_drop+rose_ensemble": ("r_drop", {}, "rose", {"order": "ensemble"}),
    "r_drop+rose_ensemble_economy": ("r_drop", {}, "rose", {"order": "ensemble", **ECONOMY}),
    "child_tuning_d": ("cross_entropy", {}, "child_tuning", {"mode": "D"}),
    "child_tuning_f": ("cross_entropy", {}, "child_tuning", {"mode": "F"}),
    "layer_norm_only": ("cross_entropy", {}, "layer_norm_only", {}),
    "smart": ("smart", {}, None, {}),
    "smart_no_bregman": ("smart", {"bregman_weight": 0.0}, None, {}),
    "freelb_3_passes": ("freelb", {}, None, {}),
    "freelb_2_passes": ("freelb", {"variant": "huggingface", "steps": 2}, None, {}),
    "match_tuning": ("match_tuning", {}, None, {}),
    "r3f": ("r3f", {}, None, {}),
    "rift": ("rift", {}, None, {}),
}


def fresh_model(name: str = "demo", device: str = "cpu") -> torch.nn.Module:
    torch.manual_seed(0)
    return load_classifier(name, ("negative", "positive"), load_tokenizer(name)).train().to(device)


def ours(
    name: str,
    model: torch.nn.Module,
    data: Iterator[dict[str, Tensor]],
    synonyms: str = "",
    more: dict[str, Any] | None = None,
) -> Step:
    """A plain loop's step, as in examples/plain_loop.py; ``more`` options of the mask."""
    objective_name, options, mask_name, mask_options = METHODS[name]
    objective = build("objective", objective_name, {**options, **({"synonyms": synonyms} if name == "rift" else {})})
    mask = None if mask_name is None else build("update_mask", mask_name, {**mask_options, **(more or {})})
    own = []
    stateful = isinstance(objective, StatefulObjective)
    if stateful:
        objective.setup(model, tokenizer=load_tokenizer("demo"), total_steps=1000)
        own = objective.named_parameters()
    optimizer = SelectiveAdamW([*model.named_parameters(), *own], lr=1e-5, update_mask=mask, fused=True)
    if isinstance(mask, PreparedMask) and not mask.prepared:
        mask.prepare(optimizer, model, [next(data) for _ in range(2)])

    def step(batch: dict[str, Tensor]) -> None:
        if stateful:
            objective.begin_step(model)
        spares = isinstance(mask, SparingMask)
        wanted = mask is not None and "consistency" in mask.needs and (mask.consistency_share if spares else True)
        with mask.resting(optimizer, model) if spares else nullcontext():
            out = objective(model, batch, consistency=wanted, backward=None)
            if mask is not None and mask.needs:
                task_loss = None if out.task_loss is out.loss else out.task_loss
                weight = {"consistency_weight": out.consistency_weight} if spares else {}
                mask.observe(optimizer, consistency=out.consistency, task_loss=task_loss, **weight)
            (mask.spare(optimizer, out.loss) if spares else out.loss).backward()
        optimizer.clip_grad_norm_(1.0)
        optimizer.step()
        optimizer.zero_grad()

    return step


def write_synonyms(folder: str) -> str:
    """For RIFT: the ten nearest whole words by id; which they are does not change what a step costs."""
    pieces = sorted(load_tokenizer("demo").get_vocab().items(), key=lambda entry: entry[1])
    words = [piece for piece, i in pieces if i >= 1996 and piece.isascii() and piece.isalpha()]
    path = Path(folder) / "synonyms.json"
    path.write_text(json.dumps({word: words[max(0, i - 5) : i + 6] for i, word in enumerate(words)}))
    return str(path)


def batches(rows: int, tokens: int, device: str = "cpu") -> Iterator[dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    while True:
        yield {
            "input_ids": torch.randint(1000, 30000, (rows, tokens), generator=generator).to(device),
            "attention_mask": torch.ones(rows, tokens, dtype=torch.long, device=device),
            "labels": torch.randint(2, (rows,), generator=generator).to(device),
        }


def finish(batch: dict[str, Tensor]) -> None:
    """Wait until the device of a batch has done what it was told."""
    if batch["labels"].is_cuda:
        torch.cuda.synchronize()


def peak_mib(step: Step, batch: dict[str, Tensor]) -> float | None:
    """MiB that a step needs above what is held at rest, on a GPU or else of this process; the latter on Linux only."""
    gc.collect()
    if batch["labels"].is_cuda:
        torch.cuda.reset_peak_memory_stats()
        at_rest = torch.cuda.memory_allocated()
        step(batch)
        return (torch.cuda.max_memory_allocated() - at_rest) / 1024**2
    status, clear = Path("/proc/self/status"), Path("/proc/self/clear_refs")

    def kib(name: str) -> int:
        return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith(name))

    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)  # so that memory freed before does not hide what the step takes
        clear.write_text("5")  # resets the peak
        rest = kib("VmRSS")
        step(batch)
        return (kib("VmHWM") - rest) / 1024
    except OSError:
        return None


def period(name: str) -> int:
    """Steps after which a method's steps cost the same again."""
    return int(METHODS[name][3].get("refresh", 1)) if name in METHODS else 1


def measure(
    steps: dict[str, Step],
    data: Iterator[dict[str, Tensor]],
    rounds: int,
    clock: Callable[[], float],
    said: str = "rounds",
) -> dict[str, dict[str, Any]]:
    """Median seconds and ratio to vanilla of each step, all in turns, and its memory.

    A turn is one step, or the steps from one refresh of a mask to the next, whose mean counts.
    """
    for step in steps.values():  # the first step makes the optimizer's state
        step(next(data))
    # Several steps of each: on a CPU a step's peak depends on what the heap looks like.
    taken = {name: [peak_mib(step, next(data)) for _ in range(max(4, period(name)))] for name, step in steps.items()}
    memory = {name: [mib for mib in each if mib is not None] for name, each in taken.items()}
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in tqdm(range(rounds), desc=said, file=sys.stderr):
        batch = next(data)
        for name, step in steps.items():
            finish(batch)
            start = clock()
            for _ in range(period(name)):
                step(batch)
            finish(batch)
            seconds[name].append((clock() - start) / period(name))
    return {
        name: {
            "ratio": statistics.median(t / v for t, v in zip(times, seconds["vanilla"], strict=True)),
            "seconds": statistics.median(times),
            "peak_mib": max(memory[name], default=None),
        }
        for name, times in seconds.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--quick", action="store_true", help="few rounds, some minutes on two cores")
    parser.add_argument("--rounds", type=int, help="timed steps of each method (default: 25, quick: 5)")
    parser.add_argument("--cpu_time", action="store_true", help="processor time of all threads, for a busy machine")
    parser.add_argument("--rows", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--model_name_or_path", default="demo", help="default: demo, MiniLM-L6")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="where the model is; default: cpu")
    parser.add_argument("--methods", help=f"only these, of {', '.join(METHODS)}; vanilla is always there")
    args = parser.parse_args()
    rounds = args.rounds or (5 if args.quick else 25)
    unknown = [name for name in (args.methods or "vanilla").split(",") if name not in METHODS]
    if unknown:
        parser.error(f"--methods: no {', '.join(unknown)}; there are {', '.join(METHODS)}")
    if args.cpu_time and args.device == "cuda":
        parser.error("--cpu_time does not see what a GPU does: leave it out")
    quiet_libraries()
    data, of, on = batches(args.rows, args.tokens, args.device), args.model_name_or_path, args.device
    chosen = [name for name in METHODS if args.methods is None or name in ("vanilla", *args.methods.split(","))]
    with tempfile.TemporaryDirectory() as folder:
        synonyms = write_synonyms(folder)
        steps = {name: ours(name, fresh_model(of, on), data, synonyms) for name in chosen}
    steps |= {f"{name} (published)": PUBLISHED[name](fresh_model(of, on)) for name in chosen if name in PUBLISHED}
    results = measure(steps, data, rounds, time.process_time if args.cpu_time else time.perf_counter)
    if args.json:
        print(json.dumps(results))
        return
    what = "processor time" if args.cpu_time else "time"
    name = "MiniLM-L6" if of == "demo" else of
    where = f"{torch.get_num_threads()} threads" if on == "cpu" else torch.cuda.get_device_name(on)
    print(f"{name}, {args.rows} x {args.tokens} tokens, {where}, {rounds} rounds, {what}")
    print(table(results))


def table(results: dict[str, dict[str, Any]]) -> str:
    """A line for each method, with the published arrangement of its passes beside ours where they differ.

    An approximation of our own has none.
    """
    lines = [f"{'method':<30}{'x vanilla':>10}{'published':>11}{'seconds':>10}{'peak MiB':>10}"]
    for name, found in results.items():
        if name.endswith(" (published)"):
            continue
        peak = "?" if found["peak_mib"] is None else f"{found['peak_mib']:.0f}"
        theirs = results.get(f"{name} (published)")
        own = name.endswith(("_sketched", "_economy"))
        published = f"{theirs['ratio']:.2f}" if theirs else "-" if own else "as ours"
        lines.append(f"{name:<30}{found['ratio']:>10.2f}{published:>11}{found['seconds']:>10.3f}{peak:>10}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
