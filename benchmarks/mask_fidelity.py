"""How near sketched and economical masks of ROSE-First come to the exact one, beside what dropout alone moves.

All masks of a step are made at the same weights, with the same rows: the exact one, the exact one of a second draw of
dropout (the noise floor), the sketched one of the first draw, and the one that economy mode has in force, which may be
some steps old. The weights are those of the exact method. Agreement is the Jaccard index of the kept tensors.

1. Over a whole training of MiniLM with exact ROSE-First.
2. At the first, middle and last step of plain trainings of four architectures with batches of 8, 32 and 128 rows:
   MiniLM, and DistilBERT, GPT-2 and ModernBERT of six layers with random weights.

Texts are cut to 32 tokens.

Writes mask_fidelity.json, mask_fidelity.md and mask_fidelity.svg into a folder.

    python benchmarks/mask_fidelity.py [--out FOLDER] [--quick] [--data_dir FOLDER --task sst2]
"""

import argparse
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from step_cost import ECONOMY, fresh_model
from torch import Tensor
from tqdm import tqdm
from transformers import AutoModelForSequenceClassification, DistilBertConfig, GPT2Config, ModernBertConfig

from rosetune import CrossEntropy, Rose, SelectiveAdamW
from rosetune._files import write_json, write_text
from rosetune.data.sources import load_task
from rosetune.experiments.models import load_tokenizer, quiet_libraries
from rosetune.report.drawing import drawing

Batch = dict[str, Tensor]
UPPER = 0.6
SKETCH = {"sketch": ECONOMY["sketch"]}
FRESH = {name: value for name, value in ECONOMY.items() if name != "refresh"}  # what economy mode makes a mask from
KINDS = {"again": "second dropout draw", "sketched": "sketch=16", "economy": "economy, mask in force"}
ARCHITECTURES = ("minilm", "distilbert", "gpt2", "modernbert")


def classifier(architecture: str) -> torch.nn.Module:
    """In train mode, for MiniLM's tokenizer, with dropout 0.1 in every layer."""
    if architecture == "minilm":
        return fresh_model()
    torch.manual_seed(0)
    known = {"vocab_size": 30522, "pad_token_id": 0}
    config = {
        "distilbert": lambda: DistilBertConfig(dim=192, n_layers=6, n_heads=6, hidden_dim=768, **known),
        "gpt2": lambda: GPT2Config(n_embd=192, n_layer=6, n_head=6, bos_token_id=101, eos_token_id=102, **known),
        "modernbert": lambda: ModernBertConfig(
            hidden_size=192,
            num_hidden_layers=6,
            num_attention_heads=6,
            intermediate_size=512,
            attention_dropout=0.1,
            embedding_dropout=0.1,
            mlp_dropout=0.1,
            **{"bos_token_id": 101, "cls_token_id": 101, "eos_token_id": 102, "sep_token_id": 102},
            **known,
        ),
    }[architecture]()
    return AutoModelForSequenceClassification.from_config(config).train()


def texts(task: str, data_dir: str | None) -> list[dict[str, Any]]:
    """Tokenised training rows, in an order drawn once."""
    data, tokenizer = load_task(task, data_dir=data_dir), load_tokenizer("demo", 32)
    rows = data.splits["train"].shuffle(seed=0).select(range(min(len(data.splits["train"]), 6000)))
    encoded = tokenizer(*(rows[column][:] for column in data.text_columns), truncation=True)
    return [
        {"input_ids": ids, "attention_mask": mask, "labels": label}
        for ids, mask, label in zip(encoded["input_ids"], encoded["attention_mask"], rows["label"], strict=True)
    ]


def batches(rows: list[dict[str, Any]], size: int) -> Iterator[Batch]:
    """Of so many rows, padded to the longest, again and again from the first."""
    tokenizer, at = load_tokenizer("demo"), 0
    while True:
        chosen = [rows[(at + i) % len(rows)] for i in range(size)]
        at += size
        yield dict(tokenizer.pad(chosen, return_tensors="pt"))


class Probe:
    """Which targets ROSE-First keeps; weights, gradients and random state stay as they are."""

    def __init__(self, model: torch.nn.Module, **options: Any) -> None:
        self.model, self.rose = model, Rose("first", upper=UPPER, **options)
        self.optimizer = SelectiveAdamW(model.named_parameters(), lr=0.0, update_mask=self.rose)  # takes no step

    def __call__(self, batch: Batch, draw: int) -> np.ndarray:
        with torch.random.fork_rng():
            torch.manual_seed(draw)
            out = CrossEntropy()(self.model, batch, consistency=self.rose.consistency_share)
            self.rose.observe(self.optimizer, consistency=out.consistency)
            out.loss.backward()
            mask = np.array([float(multiplier) for multiplier in self.rose(self.optimizer).values()])
        self.optimizer.zero_grad()
        sides = self.rose._observation._sides
        if self.rose.sketch and not any(sides or ()):
            raise SystemExit("nothing was sketched, so that there is nothing to compare")
        return mask > 0


def jaccard(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / (one | other).sum())


def by_chance(tensors: int) -> float:
    """The expected Jaccard index of two masks of as many tensors that know nothing of each other, by simulation."""
    generator, chosen = np.random.default_rng(0), int(UPPER * tensors + 1e-9)
    drawn = [generator.permutation(tensors) < chosen for _ in range(4000)]
    return statistics.mean(jaccard(one, other) for one, other in zip(drawn[::2], drawn[1::2], strict=True))


def over_a_training(rows: list[dict[str, Any]], size: int, steps: int) -> dict[str, Any]:
    """Jaccard index with the exact mask in every step of a training, by kind of mask, and by age of a mask."""
    model, data, found = fresh_model(), batches(rows, size), {name: [] for name in KINDS}
    rose = Rose("first", upper=UPPER)
    optimizer = SelectiveAdamW(model.named_parameters(), lr=2e-4, update_mask=rose)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / steps)
    whole, sketched, economy = Probe(model), Probe(model, **SKETCH), Probe(model, **FRESH)
    for step in tqdm(range(steps), desc="a whole training"):
        batch = next(data)
        exact = whole(batch, 3 * step)
        if step % ECONOMY["refresh"] == 0:
            in_force = economy(batch, 3 * step + 2)
        found["again"].append(jaccard(exact, whole(batch, 3 * step + 1)))
        found["sketched"].append(jaccard(exact, sketched(batch, 3 * step)))
        found["economy"].append(jaccard(exact, in_force))
        out = CrossEntropy()(model, batch, consistency=True, backward=None)
        rose.observe(optimizer, consistency=out.consistency)
        out.loss.backward()
        optimizer.clip_grad_norm_(1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
    ages = [found["economy"][age :: ECONOMY["refresh"]] for age in range(ECONOMY["refresh"])]
    return {
        **{"batch": size, "steps": steps, "tensors": len(exact), "chance": by_chance(len(exact)), "jaccard": found},
        "economy_by_age": [statistics.mean(each) for each in ages if each],
    }


def at_points(architecture: str, rows: list[dict[str, Any]], size: int, steps: int, draws: int) -> list[Any]:
    """Mean Jaccard indices of sketch and second draw at the first, middle and last step of a training."""
    model, data, found = classifier(architecture), batches(rows, size), []
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-4)
    whole, sketched = Probe(model), Probe(model, **SKETCH)
    points = {0: "first", steps // 2: "middle", steps - 1: "last"}
    for step in range(steps):
        if step in points:
            here: dict[str, list[float]] = {"again": [], "sketched": []}
            for draw in range(draws):
                batch = next(data)
                exact = whole(batch, 2 * draw)
                here["again"].append(jaccard(exact, whole(batch, 2 * draw + 1)))
                here["sketched"].append(jaccard(exact, sketched(batch, 2 * draw)))
            about = {"architecture": architecture, "batch": size, "step": points[step]}
            about |= {"tensors": len(exact), "chance": by_chance(len(exact))}
            found.append({**about, "draws": draws, **{name: statistics.mean(each) for name, each in here.items()}})
        CrossEntropy()(model, next(data)).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    return found


def tables(result: dict[str, Any]) -> str:
    """Markdown of both parts."""
    whole = result["training"]
    thirds = np.array_split(np.arange(whole["steps"]), 3)
    lines = [
        f"MiniLM, {whole['steps']} steps of {whole['batch']} rows of {result['task']}, {whole['tensors']} tensors; "
        f"mean Jaccard index with the exact mask (sd over steps), by chance {whole['chance']:.2f}:",
        "",
        "| | first third | second | last | worst step |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, title in KINDS.items():
        values = np.array(whole["jaccard"][name])
        cells = [f"{values[part].mean():.3f} ({values[part].std(ddof=1):.3f})" for part in thirds]
        lines.append("| " + " | ".join([title, *cells, f"{values.min():.2f}"]) + " |")
    ages = ", ".join(f"{value:.3f}" for value in whole["economy_by_age"])
    lines += ["", f"Economy by the age of its mask, 0 to {len(whole['economy_by_age']) - 1} steps: {ages}.", ""]
    sizes = list(dict.fromkeys(point["batch"] for point in result["points"]))
    lines += ["| sketched (second draw) | " + " | ".join(f"{size} rows" for size in sizes) + " |"]
    lines += ["|---|" + "---:|" * len(sizes)]
    rows = dict.fromkeys((point["architecture"], point["step"]) for point in result["points"])
    for architecture, step in rows:
        here = [p for p in result["points"] if (p["architecture"], p["step"]) == (architecture, step)]
        cells = [f"{p['sketched']:.2f} ({p['again']:.2f})" for p in here]
        chance = f" (by chance {here[0]['chance']:.2f})" if step == "first" else ""
        lines.append("| " + " | ".join([f"{architecture}, {step} step{chance}", *cells]) + " |")
    return "\n".join(lines) + "\n"


def draw_training(whole: dict[str, Any], path: Path, window: int = 8) -> None:
    """Means of ``window`` steps over the training."""
    with drawing(path) as figure:
        figure.set_size_inches(6.4, 3.4)
        axes = figure.subplots()
        for (name, title), style in zip(KINDS.items(), ("-", "--", ":"), strict=True):
            values = whole["jaccard"][name]
            starts = range(0, len(values) - window + 1, window)
            means = [statistics.mean(values[start : start + window]) for start in starts]
            axes.plot([start + window / 2 for start in starts], means, style, label=title)
        axes.axhline(whole["chance"], color="0.5", linewidth=1, label="by chance")
        axes.set(xlabel="step", ylabel="Jaccard index with the exact mask", ylim=(0.3, 1.02))
        figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("build/mask_fidelity"), help="folder of the results")
    parser.add_argument("--task", default="demo", help="whose texts (default: the embedded reviews)")
    parser.add_argument("--data_dir", help="folder of that task's data")
    parser.add_argument("--quick", action="store_true", help="few steps and small batches: whether it works")
    args = parser.parse_args()
    quiet_libraries()
    rows = texts(args.task, args.data_dir)
    whole, steps, draws, sizes = (24, 4, 1, (2, 4)) if args.quick else (120, 24, 3, (8, 32, 128))
    result: dict[str, Any] = {"task": args.task, "torch": torch.__version__}
    result["training"] = over_a_training(rows, 16, whole)
    result["points"] = [
        point
        for architecture in ARCHITECTURES
        for size in tqdm(sizes, desc=architecture)
        for point in at_points(architecture, rows, size, steps, draws)
    ]
    write_json(args.out / "mask_fidelity.json", result)
    write_text(args.out / "mask_fidelity.md", tables(result))
    draw_training(result["training"], args.out / "mask_fidelity.svg")
    print(tables(result), end="")


if __name__ == "__main__":
    main()
