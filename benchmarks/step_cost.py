"""What one optimizer step costs, method by method, against plain AdamW.

All methods take turns in one process, so that a machine whose speed drifts slows them alike; the ratio is the median
of the per-round ratios. The model is MiniLM-L6 from the extra [demo], a batch 32 rows of 32 tokens. `published_first`
is what the authors' code does for ROSE-First: two separate forwards, `kl.backward(retain_graph=True)`, `zero_grad`,
then a backward pass of the cross-entropy through both.

    python benchmarks/step_cost.py [--json] [--quick] [--rounds N] [--rows N] [--tokens N]
"""

import argparse
import ctypes
import gc
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from rosetune import CrossEntropy, RDrop, Rose, SelectiveAdamW
from rosetune.experiments.model import load_classifier, load_tokenizer, quiet_libraries
from rosetune.methods._consistency import symmetric_kl
from rosetune.methods._targets import LAYER_WEIGHTS, select_targets

Step = Callable[[dict[str, Tensor]], None]


def fresh_model() -> torch.nn.Module:
    tokenizer = load_tokenizer("demo")
    torch.manual_seed(0)
    return load_classifier("demo", ("negative", "positive"), tokenizer).train()


def ours(objective: CrossEntropy | RDrop, mask: Rose | None) -> Step:
    """A plain loop's step, as in examples/plain_loop.py."""
    model = fresh_model()
    optimizer = SelectiveAdamW(model.named_parameters(), lr=1e-5, update_mask=mask, fused=True)
    wants_consistency = mask is not None and "consistency" in mask.needs

    def step(batch: dict[str, Tensor]) -> None:
        out = objective(model, batch, consistency=wants_consistency, backward=None)
        if wants_consistency:
            mask.observe(optimizer, consistency=out.consistency)
        out.loss.backward()
        optimizer.clip_grad_norm_(1.0)
        optimizer.step()
        optimizer.zero_grad()

    return step


class PublishedMask:
    """The authors' first-order mask: norms of what the KL left in .grad, and their quantile."""

    freezes_update = True
    needs: frozenset[str] = frozenset()
    norms: Tensor

    def read_gradients(self, optimizer: SelectiveAdamW) -> None:
        self.norms = torch.stack([p.grad.norm() for _, p in select_targets(optimizer, LAYER_WEIGHTS)])

    def __call__(self, optimizer: SelectiveAdamW) -> dict:
        kept = self.norms <= torch.quantile(self.norms, 0.6)
        targets = select_targets(optimizer, LAYER_WEIGHTS)
        return {p: float(k) for (_, p), k in zip(targets, kept.tolist(), strict=True)}

    def observe(self, optimizer: SelectiveAdamW, **losses: Tensor) -> None:
        pass

    def state_dict(self) -> dict:
        return {}

    def load_state_dict(self, state: dict) -> None:
        pass


def published_first() -> Step:
    model, mask = fresh_model(), PublishedMask()
    optimizer = SelectiveAdamW(model.named_parameters(), lr=1e-5, update_mask=mask, fused=True)
    cross_entropy = torch.nn.functional.cross_entropy

    def step(batch: dict[str, Tensor]) -> None:
        features = {name: value for name, value in batch.items() if name != "labels"}
        first, second = model(**features).logits, model(**features).logits
        symmetric_kl(first, second).backward(retain_graph=True)
        mask.read_gradients(optimizer)
        optimizer.zero_grad()
        ((cross_entropy(first, batch["labels"]) + cross_entropy(second, batch["labels"])) / 2).backward()
        optimizer.clip_grad_norm_(1.0)
        optimizer.step()
        optimizer.zero_grad()

    return step


METHODS: dict[str, Callable[[], Step]] = {
    "vanilla": lambda: ours(CrossEntropy(), None),
    "rose_second": lambda: ours(CrossEntropy(), Rose("second")),
    "rose_first": lambda: ours(CrossEntropy(), Rose("first")),
    "rose_ensemble": lambda: ours(CrossEntropy(), Rose("ensemble")),
    "r_drop": lambda: ours(RDrop(), None),
    "published_first": published_first,
}


def batches(rows: int, tokens: int) -> Iterator[dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    while True:
        yield {
            "input_ids": torch.randint(1000, 30000, (rows, tokens), generator=generator),
            "attention_mask": torch.ones(rows, tokens, dtype=torch.long),
            "labels": torch.randint(2, (rows,), generator=generator),
        }


def peak_mib(step: Step, batch: dict[str, Tensor]) -> float | None:
    """MiB that a step needs above what is held at rest; Linux only."""
    status, clear = Path("/proc/self/status"), Path("/proc/self/clear_refs")

    def kib(name: str) -> int:
        return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith(name))

    gc.collect()
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)  # so that memory freed before does not hide what the step takes
        clear.write_text("5")  # resets the peak
        rest = kib("VmRSS")
        step(batch)
        return (kib("VmHWM") - rest) / 1024
    except OSError:
        return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--quick", action="store_true", help="few rounds, below two minutes on two cores")
    parser.add_argument("--rounds", type=int, help="timed steps of each method (default: 25, quick: 5)")
    parser.add_argument("--rows", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=32)
    args = parser.parse_args()
    rounds = args.rounds or (5 if args.quick else 25)
    quiet_libraries()
    data = batches(args.rows, args.tokens)
    steps = {name: make() for name, make in METHODS.items()}
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for step in steps.values():  # the first step makes the optimizer's state
        step(next(data))
    memory = {name: peak_mib(step, next(data)) for name, step in steps.items()}
    for _ in tqdm(range(rounds), desc="rounds", file=sys.stderr):
        batch = next(data)
        for name, step in steps.items():
            start = time.perf_counter()
            step(batch)
            seconds[name].append(time.perf_counter() - start)
    results = {
        name: {
            "ratio": statistics.median(t / v for t, v in zip(times, seconds["vanilla"], strict=True)),
            "seconds": statistics.median(times),
            "peak_mib": memory[name],
        }
        for name, times in seconds.items()
    }
    if args.json:
        print(json.dumps(results))
        return
    print(f"MiniLM-L6, batch {args.rows} x {args.tokens} tokens, {torch.get_num_threads()} threads, {rounds} rounds")
    print(f"{'method':<18}{'x vanilla':>10}{'seconds':>10}{'peak MiB':>10}")
    for name, r in results.items():
        peak = "?" if r["peak_mib"] is None else f"{r['peak_mib']:.0f}"
        print(f"{name:<18}{r['ratio']:>10.2f}{r['seconds']:>10.3f}{peak:>10}")


if __name__ == "__main__":
    main()
