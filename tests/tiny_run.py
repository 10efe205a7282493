"""A tiny saved model, a small task and runs on them, importable as ``tiny_run``."""

import csv
import itertools
import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from rosetune.runs.config import RunConfig

GOOD = ("fine", "great", "lovely", "warm", "clever", "bright")
BAD = ("awful", "boring", "clumsy", "dull", "empty", "stale")
PLAIN = ("the", "film", "plot", "actor", "scene", "was", "rather", "quite", "very", "again", "ending", "music")
WORDS = (*GOOD, *BAD, *PLAIN)
# What a resumed run shares with an uninterrupted one, bit for bit, beside the folders below.
SAME = ("run.json", "config.yaml", "log.jsonl", "metrics.json", "mask_trace.npz")
_SAME_FOLDERS = ("model", "predictions", "attacks")


@contextmanager
def quick() -> Iterator[None]:
    """One thread, as the tiny model needs no more."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def write_csv(path: Path, rows: int = 120, pairs: bool = False, seed: int = 0) -> Path:
    """Sentences of eight words, some of which tell the label; every tenth has a typing error of its own."""
    rng = np.random.default_rng(seed)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["premise", "hypothesis", "label"] if pairs else ["text", "label"])
        for row in range(rows):
            positive = bool(row % 2)
            told = rng.choice(GOOD if positive else BAD, 2)
            texts = [" ".join(rng.permutation([*told, *rng.choice(PLAIN, 6)])) for _ in range(1 + pairs)]
            writer.writerow([*texts, "good" if positive else "bad"])
    return path


def write_synonyms(path: Path) -> Path:
    """The words that tell a label are each other's synonyms."""
    neighbours = {word: [other for other in words if other != word] for words in (GOOD, BAD) for word in words}
    path.write_text(json.dumps(neighbours), encoding="utf-8")
    return path


def write_model(folder: Path, dropout: float = 0.1, seed: int = 0) -> Path:
    """A BERT of two layers of width 32 with a tokenizer that knows the words of :func:`write_csv`."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

    vocabulary = {word: i for i, word in enumerate(("[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=64, **names)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=64,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        BertForSequenceClassification(config).save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder


def config(home: Path, folder: str, *, training: dict[str, Any] | None = None, **options: Any) -> RunConfig:
    """Six steps with a checkpoint every second one, from ``home/model`` and ``home/my.csv`` to ``home/folder``."""
    steps = {"max_steps": 6, "save_steps": 2, "logging_steps": 3, "learning_rate": 2e-3, "disable_tqdm": True}
    chosen = {"per_device_train_batch_size": 8, "seed": 1, **steps, **(training or {})}
    values = {"task": str(home / "my.csv"), "model_name_or_path": str(home / "model"), **options}
    return RunConfig(**values, output_dir=str(home / folder), training=chosen)


def contents(run: Path) -> dict[str, bytes]:
    """Every file of a finished run that a repetition of it must share."""
    files = [run / name for name in SAME if (run / name).is_file()]
    files += [path for name in _SAME_FOLDERS for path in sorted((run / name).rglob("*")) if path.is_file()]
    return {str(path.relative_to(run)): path.read_bytes() for path in files}


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every file below a folder, and when it was written."""
    return {str(p): (p.stat().st_mtime_ns, p.read_bytes()) for p in folder.rglob("*") if p.is_file()}


def metrics(run: Path) -> dict[str, Any]:
    return json.loads((run / "metrics.json").read_text(encoding="utf-8"))


def silent(line: str) -> None:
    pass


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Path]:
    """A folder on a disk of its own (tmpfs); the test is skipped where this may not be mounted."""
    import pytest

    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        pytest.skip(f"no small disk can be mounted here: {error}")
    if done.returncode:
        pytest.skip(f"no small disk can be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill_disk(folder: Path, but_for: int = 0) -> Path:
    """The file that takes all that is free on a folder's disk, but for so many bytes."""
    filler = folder / "filler"
    filler.write_bytes(bytes(max(0, shutil.disk_usage(folder).free - but_for)))
    return filler


class Killed(BaseException):
    """No library catches it."""


class Library:
    """Tiny runs, each trained when a test first asks for it and kept for the session; a test that writes copies one.

    Attributes:
        home: the folder with ``my.csv``, ``pairs.csv``, ``synonyms.json``, ``model/`` and the runs.
    """

    def __init__(self, home: Path) -> None:
        self.home, self._asked = home, dict[str, RunConfig]()
        write_csv(home / "my.csv")
        write_csv(home / "pairs.csv", pairs=True)
        write_synonyms(home / "synonyms.json")
        write_model(home / "model")

    def run(self, name: str, training: dict[str, Any] | None = None, **options: Any) -> Path:
        """The uninterrupted run of :func:`config` with these options, on the clean set."""
        from rosetune.experiments.train import train_run

        for n in itertools.count(1):  # the name may be that of another file's run as well
            folder = name if n == 1 else f"{name}-{n}"
            wanted = config(self.home, folder, training=training, **{"sets": ("clean",), **options})
            if folder not in self._asked:
                train_run(wanted, silent)
            if self._asked.setdefault(folder, wanted) == wanted:
                return self.home / folder
        raise AssertionError("there is always one more number")

    def config_words(self, run: Path) -> list[str]:
        """The options of the command line that ask for a run that is there."""
        wanted = self._asked[run.name]
        own = {n: getattr(wanted, n) for n in ("task", "model_name_or_path", "output_dir")}
        given = {**own, "sets": ",".join(wanted.sets), **wanted.training}
        return [
            word
            for n, value in given.items()
            for word in (f"--{n}", str(value).lower() if value is True else str(value))
        ]

    def learned(self) -> Path:
        """A run that tells good from bad."""
        return self.run("learned", {"max_steps": 40, "learning_rate": 5e-3, "save_steps": 40})

    def copy(self, run: Path, to: Path) -> Path:
        """A copy of a run that a test may write to."""
        return Path(shutil.copytree(run, to))
