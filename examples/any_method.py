"""Any objective with any update mask in a plain PyTorch loop, with gradient accumulation.

python examples/any_method.py OBJECTIVE [UPDATE_MASK]
"""

import sys
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch.utils.data import DataLoader
from transformers import AutoModelForSequenceClassification, AutoTokenizer, DataCollatorWithPadding

from rosetune import SelectiveAdamW
from rosetune.data.embedded import embedded_model_path
from rosetune.data.sources import load_task
from rosetune.methods import Objective, PreparedMask, SparingMask, StatefulObjective, UpdateMask, build


def train(
    model: torch.nn.Module,
    steps: Sequence[Sequence[dict[str, Any]]],
    objective: Objective,
    mask: UpdateMask | None = None,
    tokenizer: Any = None,
    lr: float = 1e-4,
) -> list[float]:
    """One optimizer step for each sequence of micro-batches; returns the loss of each step."""
    model.train()
    own = []
    if isinstance(objective, StatefulObjective):  # before the optimizer, which trains what it brings along
        objective.setup(model, tokenizer=tokenizer, total_steps=len(steps))
        own = objective.named_parameters()
    optimizer = SelectiveAdamW([*model.named_parameters(), *own], lr=lr, weight_decay=0.01, update_mask=mask)
    if isinstance(mask, PreparedMask) and not mask.prepared:
        mask.prepare(optimizer, model, [batch for micro_batches in steps for batch in micro_batches])
    losses = []
    for micro_batches in steps:
        if isinstance(objective, StatefulObjective):
            objective.begin_step(model)
        losses.append(_accumulate(model, micro_batches, objective, mask, optimizer))
        optimizer.clip_grad_norm_(1.0)
        optimizer.step()
        optimizer.zero_grad()
    return losses


def _accumulate(
    model: torch.nn.Module,
    micro_batches: Sequence[dict[str, Any]],
    objective: Objective,
    mask: UpdateMask | None,
    optimizer: SelectiveAdamW,
) -> float:
    spares, parts, total = isinstance(mask, SparingMask), len(micro_batches), 0.0
    # A mask may want to see the consistency in some steps only, or that of a share of the rows.
    wanted = mask is not None and "consistency" in mask.needs and (mask.consistency_share if spares else True)
    for batch in micro_batches:
        with mask.resting(optimizer, model) if spares else nullcontext():
            out = objective(
                model,
                batch,
                consistency=wanted,
                backward=lambda loss: (loss / parts).backward(),  # for objectives of several passes
            )
            if mask is not None:
                task_loss = None if out.task_loss is out.loss else out.task_loss
                weight = {"consistency_weight": out.consistency_weight} if spares else {}
                mask.observe(optimizer, consistency=out.consistency, task_loss=task_loss, **weight)
            (out.loss / parts).backward()
        total += out.loss.item() / parts
    return total


def batches(tokenizer: Any, rows: int = 320, size: int = 16) -> Iterable[list[dict[str, Any]]]:
    """Steps of two micro-batches each, from the extra [demo]."""
    data = load_task("demo").splits["train"].select(range(rows))
    encoded = [{**tokenizer(row["sentence"]), "labels": row["label"]} for row in data]
    loader = list(DataLoader(encoded, batch_size=size, shuffle=True, collate_fn=DataCollatorWithPadding(tokenizer)))
    return [[dict(first), dict(second)] for first, second in zip(loader[::2], loader[1::2], strict=True)]


def main() -> None:
    """MiniLM on 320 Rotten Tomatoes sentences."""
    words = sys.argv[1:] or ["r_drop", "rose"]
    objective, mask = words[0], words[1] if len(words) > 1 else None
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(embedded_model_path())
    model = AutoModelForSequenceClassification.from_pretrained(embedded_model_path(), num_labels=2)
    losses = train(
        model,
        list(batches(tokenizer)),
        build("objective", objective),
        None if mask is None else build("update_mask", mask),
        tokenizer,
    )
    print(" ".join(f"{loss:.3f}" for loss in losses))


if __name__ == "__main__":
    main()
