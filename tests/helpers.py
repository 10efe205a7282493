"""Small models, batches and trainings for the tests, importable as ``helpers``."""

import copy
import json
from functools import cache
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.pre_tokenizers import Whitespace
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    BertConfig,
    DebertaV2Config,
    DistilBertConfig,
    ElectraConfig,
    GPT2Config,
    ModernBertConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    RobertaConfig,
    TrainerCallback,
)

from rosetune import RobustTrainer, RobustTrainingArguments

VOCABULARY = 100
FIRST_WORD = 5  # ids below are the special ones
ARCHITECTURES = ("bert", "roberta", "distilbert", "electra", "deberta", "modernbert", "gpt2")

_BERT_SIZE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
_BERT_DROPOUT = ("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout")
# Each architecture: its configuration, the names of its sizes and of its dropouts.
_CONFIGURATIONS: dict[str, tuple[type, dict[str, Any], tuple[str, ...]]] = {
    "bert": (BertConfig, _BERT_SIZE, _BERT_DROPOUT),
    "roberta": (RobertaConfig, _BERT_SIZE, _BERT_DROPOUT),
    "electra": (ElectraConfig, {**_BERT_SIZE, "embedding_size": 32}, _BERT_DROPOUT),
    "deberta": (
        DebertaV2Config,
        {**_BERT_SIZE, "relative_attention": True, "position_buckets": 8, "pos_att_type": ["p2c", "c2p"]},
        ("hidden_dropout_prob", "attention_probs_dropout_prob", "pooler_dropout", "cls_dropout"),
    ),
    "distilbert": (
        DistilBertConfig,
        {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64},
        ("dropout", "attention_dropout", "seq_classif_dropout"),
    ),
    "modernbert": (
        ModernBertConfig,
        {**_BERT_SIZE, "bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 1, "sep_token_id": 2},
        ("attention_dropout", "mlp_dropout", "embedding_dropout", "classifier_dropout"),
    ),
    "gpt2": (
        GPT2Config,
        {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_inner": 64, "bos_token_id": 1, "eos_token_id": 2},
        ("resid_pdrop", "embd_pdrop", "attn_pdrop"),
    ),
}


def make_model(
    architecture: str = "bert",
    num_labels: int = 2,
    dropout: float = 0.1,
    seed: int = 0,
    head: type = AutoModelForSequenceClassification,
    **overrides: Any,
) -> PreTrainedModel:
    """A model with random weights: 2 layers of width 32, in train mode.

    Args:
        architecture: one of :data:`ARCHITECTURES`.
        num_labels: 1 makes it a regression.
        dropout: everywhere that the architecture has dropout.
        seed: of the weights; the global random state is left as it was.
        head: the auto class of its kind.
        overrides: options of the configuration that win over these.
    """
    # A copy takes a fifth of the time of building.
    return copy.deepcopy(_built(architecture, num_labels, dropout, seed, head, tuple(sorted(overrides.items()))))


@cache
def _built(architecture, num_labels, dropout, seed, head, overrides) -> PreTrainedModel:
    configuration, sizes, dropouts = _CONFIGURATIONS[architecture]
    options = {
        "vocab_size": VOCABULARY,
        "pad_token_id": 0,  # what make_batch pads with
        "max_position_embeddings": 64,
        "num_labels": num_labels,
        **sizes,
        **dict.fromkeys(dropouts, dropout),
        **dict(overrides),
    }
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return head.from_config(configuration(**options)).train()


def language_model(dropout: float = 0.1) -> PreTrainedModel:
    return make_model("gpt2", dropout=dropout, head=AutoModelForCausalLM)


def gradient_is_rounding(name: str) -> bool:
    """Of the bias of a key, which no softmax over keys depends on."""
    return name.endswith(("key.bias", "key_proj.bias", "k_lin.bias"))


def make_batch(
    rows: int = 8, length: int = 12, num_labels: int = 2, seed: int = 0, lengths: list[int] | None = None
) -> dict[str, Tensor]:
    """Random words, padded on the right, with labels.

    Args:
        rows, length: shape of ``input_ids`` and ``attention_mask``.
        num_labels: labels are drawn below it; 1 draws real numbers.
        seed: of all that is drawn; the global random state is left as it was.
        lengths: words of each row; by default drawn from half the length up, with at least one row in full.
    """
    generator = torch.Generator().manual_seed(seed)
    input_ids = torch.randint(FIRST_WORD, VOCABULARY, (rows, length), generator=generator)
    drawn = torch.randint(max(1, length // 2), length + 1, (rows,), generator=generator)
    drawn[0] = length
    words = drawn if lengths is None else torch.tensor(lengths)
    attention_mask = (torch.arange(length) < words[:, None]).long()
    labels = (
        torch.randn(rows, generator=generator)
        if num_labels == 1
        else torch.randint(num_labels, (rows,), generator=generator)
    )
    return {
        "input_ids": input_ids * attention_mask,
        "attention_mask": attention_mask,
        "labels": labels,
    }


def scored_texts(rows: int = 6) -> dict[str, Tensor]:
    """Padded sentences whose labels are their own words; padding is -100, as the collators have it."""
    batch = make_batch(rows=rows)
    return {**batch, "labels": batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)}


def make_tokenizer() -> PreTrainedTokenizerFast:
    """A WordPiece tokenizer over the ids of :func:`make_batch`: the special ones, then words of two letters."""
    words = [a + b for a in "bcdfghklmnprstvwxyz" for b in "aeiou"]
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary = {word: i for i, word in enumerate([*special, *words])}
    tokenizer = Tokenizer(WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), special, strict=True))
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)


def write_synonyms(folder: Path) -> str:
    """A file in which the words of :func:`make_tokenizer` with the same consonant are synonyms; returns its path."""
    path = folder / "synonyms.json"
    neighbours = {a + b: [a + c for c in "aeiou" if c != b] for a in "bdfghklmnprst" for b in "aeiou"}
    path.write_text(json.dumps(neighbours), encoding="utf-8")
    return str(path)


ROSES = {order: {"order": order, "upper": 0.5, "trace": True} for order in ("first", "second", "ensemble")}


def dataset(rows=48, **kwargs):
    """The rows of :func:`make_batch`, for a Trainer."""
    return Dataset.from_dict({k: v.tolist() for k, v in make_batch(rows=rows, **kwargs).items()})


def arguments(tmp_path, **kwargs):
    """Six quiet steps on the CPU."""
    defaults = {
        "max_steps": 6,
        "per_device_train_batch_size": 8,
        "learning_rate": 1e-2,
        "weight_decay": 0.1,
        "logging_steps": 1,
        "save_strategy": "no",
        "disable_tqdm": True,
        "use_cpu": True,
        "dataloader_pin_memory": False,
    }
    return RobustTrainingArguments(output_dir=str(tmp_path), **{**defaults, **kwargs})


def train(model, args, data, resume=None, **kwargs):
    """A trainer that has trained."""
    trainer = RobustTrainer(model, args, train_dataset=data, **kwargs)
    trainer.train(resume_from_checkpoint=resume)
    return trainer


class StopAt(TrainerCallback):
    """Kills the process, as far as a test can, after this step."""

    def __init__(self, step):
        self.step = step

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            raise KeyboardInterrupt


def logged(trainer) -> list[dict[str, Any]]:
    """What it logged of each step."""
    return [entry for entry in trainer.state.log_history if "loss" in entry]


def same(a, b):
    """Whether all weights are equal bit for bit."""
    return all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))


def trace_of(trainer):
    """The trace of the mask it trained with."""
    return trainer.optimizer.optimizer.update_mask.trace
