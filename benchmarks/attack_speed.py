"""Queries per second of an attack: DeepWordBug here, in TextAttack, and as a plain loop with one text at a time.

The same model, sentences and settings, in turns, a few sentences each, so that a machine whose speed drifts slows them
alike; CPU seconds leave out what other programs take. A query is a text that the model is given. TextAttack runs in a
process of its own (it may be that of another interpreter) and needs NLTK's stop words. Its wrapper pads every text to
the length of the tokenizer; "padded to the longest" is the same with padding to the longest text of a batch.

    python benchmarks/attack_speed.py RUN --data dev.tsv [--rows N] [--chunk N] [--threads N]
        [--textattack_python PATH] [--json]
"""

import argparse
import csv
import importlib.util
import json
import random
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from transformers import AutoModelForSequenceClassification, AutoTokenizer

Example = tuple[str, int]
Figures = dict[str, float]  # queries, seconds, cpu_seconds, attacked, succeeded
Contender = Callable[[Sequence[Example]], Figures]

OURS = "rosetune"
ALONE = "one text at a time"
PADDINGS = {"max_length": "TextAttack", "longest": "TextAttack, padded to the longest"}


class Clock:
    def __init__(self) -> None:
        self._start = time.perf_counter(), time.process_time()

    def stop(self) -> Figures:
        return {"seconds": time.perf_counter() - self._start[0], "cpu_seconds": time.process_time() - self._start[1]}


def load(folder: str) -> tuple[Any, Any]:
    model = AutoModelForSequenceClassification.from_pretrained(folder, local_files_only=True).eval()
    return model, AutoTokenizer.from_pretrained(folder, local_files_only=True)


def ours(folder: str, alone: bool) -> Contender:
    from rosetune.robustness.attacks.driver import Row
    from rosetune.robustness.attacks.recipes import deepwordbug
    from rosetune.robustness.attacks.run import attack
    from rosetune.robustness.transformers_classifier import TransformersClassifier

    model, tokenizer = load(folder)
    recipe = deepwordbug(importance="unk", keep_ends=False, stop_words=True, unk=tokenizer.unk_token)

    def one(texts: Sequence[tuple[str, ...]]) -> Any:
        with torch.no_grad():
            return model(**tokenizer(*texts[0], truncation=True, return_tensors="pt")).logits.softmax(-1).numpy()

    victim = one if alone else TransformersClassifier(model, tokenizer)

    def run(examples: Sequence[Example]) -> Figures:
        rows = [Row(i, (text,), label) for i, (text, label) in enumerate(examples)]
        clock = Clock()
        results = attack(victim, rows, recipe, progress=False, **({"pool": 1} if alone else {}))
        return {
            **clock.stop(),
            "queries": sum(result["queries"] for result in results),
            "attacked": sum(result["status"] != "skipped" for result in results),
            "succeeded": sum(result["status"] == "success" for result in results),
        }

    return run


def textattack(folder: str, padding: str) -> Contender:
    """DeepWordBugGao2018 with TextAttack's own wrapper of a Hugging Face model."""
    if int(transformers.__version__.split(".")[0]) >= 5:
        from rosetune.robustness.attacks.textattack_adapter import import_textattack

        import_textattack()
    from textattack.attack_recipes import DeepWordBugGao2018
    from textattack.attack_results import SkippedAttackResult, SuccessfulAttackResult
    from textattack.models.wrappers import HuggingFaceModelWrapper

    class Wrapper(HuggingFaceModelWrapper):
        queries = 0

        def __call__(self, texts: Sequence[str]) -> Any:
            self.queries += len(texts)
            if padding == "max_length":
                return super().__call__(texts)
            with torch.no_grad():
                return self.model(**self.tokenizer(texts, padding=True, truncation=True, return_tensors="pt")).logits

    wrapper = Wrapper(*load(folder))
    built = DeepWordBugGao2018.build(wrapper)

    def run(examples: Sequence[Example]) -> Figures:
        before, clock = wrapper.queries, Clock()
        results = [built.attack(text, label) for text, label in examples]
        return {
            **clock.stop(),
            "queries": wrapper.queries - before,
            "attacked": sum(not isinstance(result, SkippedAttackResult) for result in results),
            "succeeded": sum(isinstance(result, SuccessfulAttackResult) for result in results),
        }

    return run


def work(folder: str, padding: str, threads: int) -> None:
    """A process of TextAttack: examples as a line of JSON in, figures as a line of JSON out."""
    torch.set_num_threads(threads)
    random.seed(0)
    np.random.seed(0)
    output, sys.stdout = sys.stdout, sys.stderr  # what the libraries print is no answer
    run = textattack(folder, padding)
    for line in iter(sys.stdin.readline, ""):
        print(json.dumps(run(json.loads(line))), file=output, flush=True)


def in_process(python: str, folder: str, padding: str, threads: int) -> Contender:
    command = [python, __file__, folder, "--worker", padding, "--threads", str(threads)]
    worker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8")

    def run(examples: Sequence[Example]) -> Figures:
        assert worker.stdin is not None
        assert worker.stdout is not None
        worker.stdin.write(json.dumps(examples) + "\n")
        worker.stdin.flush()
        answer = worker.stdout.readline()
        if not answer:
            sys.exit(f"TextAttack failed in {python}, see above")
        return json.loads(answer)

    return run


def read(path: Path, rows: int, seed: int) -> list[Example]:
    with path.open(encoding="utf-8", newline="") as file:
        found = [(row["sentence"], int(row["label"])) for row in csv.DictReader(file, delimiter="\t", quoting=3)]
    return random.Random(seed).sample(found, min(rows, len(found)))


def measure(contenders: dict[str, Contender], examples: Sequence[Example], chunk: int) -> dict[str, Figures]:
    totals: dict[str, Figures] = {name: {} for name in contenders}
    for run in contenders.values():
        run(examples[:1])  # the first call of a model is slow
    for start in range(0, len(examples), chunk):
        for name, run in contenders.items():
            for key, value in run(examples[start : start + chunk]).items():
                totals[name][key] = totals[name].get(key, 0) + value
    return totals


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="folder of a saved classifier with two labels")
    parser.add_argument("--data", type=Path, required="--worker" not in sys.argv, help="SST-2's dev.tsv")
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--chunk", type=int, default=40, help="sentences per turn")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--textattack_python", help="an interpreter that has TextAttack, if this one has it not")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--worker", choices=PADDINGS, help=argparse.SUPPRESS)
    known = parser.parse_args()
    folder = str(Path(known.model) / "model" if (Path(known.model) / "model").is_dir() else known.model)
    if known.worker:
        work(folder, known.worker, known.threads)
        return
    torch.set_num_threads(known.threads)
    contenders = {OURS: ours(folder, alone=False), ALONE: ours(folder, alone=True)}
    python = known.textattack_python or (sys.executable if importlib.util.find_spec("textattack") else None)
    if python:
        for padding, name in PADDINGS.items():
            contenders[name] = in_process(python, folder, padding, known.threads)
    totals = measure(contenders, read(known.data, known.rows, known.seed), known.chunk)
    for figures in totals.values():
        figures["queries_per_second"] = figures["queries"] / figures["seconds"]
        figures["queries_per_cpu_second"] = figures["queries"] / figures["cpu_seconds"]
        figures["attack_success_rate"] = figures["succeeded"] / figures["attacked"]
    for figures in totals.values():
        for kind in ("second", "cpu_second"):
            figures[f"ratio_per_{kind}"] = totals[OURS][f"queries_per_{kind}"] / figures[f"queries_per_{kind}"]
    if known.json:
        print(json.dumps(totals, indent=2))
        return
    print(f"{known.rows} sentences, threads: {known.threads}, seed {known.seed}; ratio: times as fast as that\n")
    print(f"{'':34}{'queries':>8}{'q/s':>8}{'ratio':>7}{'q/CPU s':>9}{'ratio':>7}{'success':>9}")
    for name, figures in totals.items():
        print(
            f"{name:34}{figures['queries']:8}"
            f"{figures['queries_per_second']:8.1f}{figures['ratio_per_second']:7.2f}"
            f"{figures['queries_per_cpu_second']:9.1f}{figures['ratio_per_cpu_second']:7.2f}"
            f"{figures['attack_success_rate']:9.3f}"
        )


if __name__ == "__main__":
    main()
