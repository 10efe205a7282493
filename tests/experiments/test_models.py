"""Models as they come: precision, heads, label names, lengths, segments, options; and what cannot be used."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AlbertConfig,
    AlbertForSequenceClassification,
    AutoModelForSequenceClassification,
    BertForMaskedLM,
    BertForTokenClassification,
    XLNetConfig,
    XLNetForSequenceClassification,
)

from helpers import ARCHITECTURES, VOCABULARY, make_batch, make_model, make_tokenizer
from rosetune.experiments.models import load_classifier, load_tokenizer, load_trained, quiet_libraries, trained_labels
from rosetune.robustness.classifier import as_classifier
from rosetune.robustness.evaluation import default_length, predict_texts
from rosetune.runs.values import RunError

LABELS = ("neg", "pos")
_ALBERT = {
    **{"vocab_size": VOCABULARY, "embedding_size": 32, "hidden_size": 32, "num_hidden_layers": 2},
    **{"num_attention_heads": 4, "intermediate_size": 64, "max_position_embeddings": 64, "pad_token_id": 0},
}


def saved(folder: Path, model: Any, *, limit: int | None = 64, tokenizer: Any = None) -> str:
    """A folder with a model and a tokenizer that knows this limit."""
    tokenizer = tokenizer or make_tokenizer()
    if limit is not None:
        tokenizer.model_max_length = limit
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "model_input_names": tokenizer.model_input_names}))
    return str(folder)


def xlnet() -> Any:
    config = XLNetConfig(vocab_size=VOCABULARY, d_model=32, n_layer=2, n_head=4, d_inner=64, pad_token_id=0)
    return XLNetForSequenceClassification(config)


def logits(model: Any, seed: int = 0) -> torch.Tensor:
    batch = make_batch(seed=seed)
    del batch["labels"]
    with torch.no_grad():
        return model.eval()(**batch).logits


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_trained_in_float32_unless_asked_otherwise(dtype: torch.dtype, tmp_path: Path) -> None:
    """A step of 2e-5 is below the precision of bfloat16, and float16 overflows."""
    name = saved(tmp_path / "half", make_model("bert").to(dtype))
    tokenizer = load_tokenizer(name)
    model = load_classifier(name, LABELS, tokenizer)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    kept = load_classifier(name, LABELS, tokenizer, model_kwargs={"dtype": str(dtype).removeprefix("torch.")})
    assert {parameter.dtype for parameter in kept.parameters()} == {dtype}
    assert load_trained(name)[0].dtype == torch.float32
    stored = AutoModelForSequenceClassification.from_pretrained(name, dtype=dtype)
    torch.testing.assert_close(logits(load_trained(name)[0]), logits(stored.float()))


@pytest.mark.parametrize("architecture", [*ARCHITECTURES, "albert", "xlnet"])
def test_a_saved_classifier_is_what_it_was(architecture: str, tmp_path: Path) -> None:
    """On every architecture: no weight counts as missing, and a head in another order is brought into the data's."""
    made = {"albert": lambda: AlbertForSequenceClassification(AlbertConfig(**_ALBERT)), "xlnet": xlnet}
    model = made[architecture]() if architecture in made else make_model(architecture)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
    model.config.id2label, model.config.label2id = {0: "pos", 1: "neg"}, {"pos": 0, "neg": 1}
    name = saved(tmp_path / architecture, model)
    trained, tokenizer, labels = load_trained(name)
    assert labels == trained_labels(name) == ("pos", "neg")
    torch.testing.assert_close(logits(trained.cpu()), logits(model))
    ours = load_classifier(name, LABELS, tokenizer)
    assert ours.config.id2label == {0: "neg", 1: "pos"}
    torch.testing.assert_close(logits(ours), logits(model).flip(1))


def test_three_classes_in_any_order_and_case(tmp_path: Path) -> None:
    model = make_model("roberta", num_labels=3)
    torch.nn.init.normal_(model.classifier.out_proj.bias)
    names = ("CONTRADICTION", "NEUTRAL", "ENTAILMENT")
    model.config.id2label, model.config.label2id = dict(enumerate(names)), {n: i for i, n in enumerate(names)}
    name = saved(tmp_path / "nli", model)
    ours = load_classifier(name, ("entailment", "neutral", "contradiction"), load_tokenizer(name))
    torch.testing.assert_close(logits(ours), logits(model)[:, [2, 1, 0]])


def test_a_head_of_other_classes_is_kept_and_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    quiet_libraries()
    model = make_model("bert")
    name = saved(tmp_path / "unnamed", model)
    ours = load_classifier(name, LABELS, load_tokenizer(name))
    torch.testing.assert_close(logits(ours), logits(model))
    said = f"{name}: its trained head is kept, whose classes have no names; they are taken as "
    assert capsys.readouterr().err == f"{said}LABEL_0 as neg, LABEL_1 as pos\n"
    load_classifier(name, ("a", "b", "c"), load_tokenizer(name))
    new = "its trained head has other outputs (LABEL_0, LABEL_1) than the data asks for: a new one is trained"
    assert capsys.readouterr().err == f"{name}: {new}\n"


def test_a_head_that_tagged_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its weights have the names and sizes of a classifier's."""
    quiet_libraries()
    name = saved(tmp_path / "tagger", BertForTokenClassification(make_model("bert").config))
    load_classifier(name, LABELS, load_tokenizer(name))
    said = f"{name}: its trained head, that of a BertForTokenClassification, is kept, whose classes have no names"
    assert capsys.readouterr().err.startswith(said)


def test_regression_has_one_output_and_no_labels(tmp_path: Path) -> None:
    name = saved(tmp_path / "base", make_model("bert"))
    model = load_classifier(name, (), load_tokenizer(name), task_type="regression")
    assert (model.config.num_labels, model.config.problem_type) == (1, "regression")
    batch = make_batch(num_labels=1)
    output = model(**batch)
    torch.testing.assert_close(output.loss, ((output.logits[:, 0] - batch["labels"]) ** 2).mean())
    assert load_trained(saved(tmp_path / "reg", model))[2] == ()


def test_a_multi_label_checkpoint_is_trained_for_one_label(tmp_path: Path) -> None:
    """Its own problem_type would choose the loss of many."""
    name = saved(tmp_path / "many", make_model("bert", problem_type="multi_label_classification"))
    model = load_classifier(name, LABELS, load_tokenizer(name)).eval()
    batch = make_batch()
    output = model(**batch)
    torch.testing.assert_close(output.loss, torch.nn.functional.cross_entropy(output.logits, batch["labels"]))


@pytest.mark.parametrize(
    ("kind", "missing"),
    [(BertForMaskedLM, "classifier.weight"), (BertForTokenClassification, "bert.pooler.dense.weight")],
)
def test_a_model_without_a_trained_head_is_no_classifier(kind: Any, missing: str, tmp_path: Path) -> None:
    name = saved(tmp_path / "base", kind(make_model("bert").config))
    with pytest.raises(RunError, match=rf"holds no trained classifier: .*{missing}.* would be random"):
        load_trained(name)


def test_two_labels_of_one_name_are_refused(tmp_path: Path) -> None:
    model = make_model("bert")
    model.config.id2label = {0: "same", 1: "same"}
    name = saved(tmp_path / "twice", model)
    with pytest.raises(RunError, match="several labels called 'same'"):
        load_trained(name)


# --- lengths and segments


@pytest.mark.parametrize(
    ("architecture", "options", "limit", "expected"),
    [
        ("bert", {}, None, 64),
        ("bert", {}, 32, 32),
        ("roberta", {"pad_token_id": 0}, None, 63),  # positions - padding_idx - 1
        ("roberta", {"pad_token_id": 1}, None, 62),
        ("gpt2", {}, None, 64),
        ("xlnet", {}, None, 1000),  # knows no limit, and says so with -1
    ],
)
def test_the_longest_input_is_the_one_of_tokenizer_and_positions(
    architecture: str, options: dict[str, Any], limit: int | None, expected: int, tmp_path: Path
) -> None:
    model = xlnet() if architecture == "xlnet" else make_model(architecture, **options)
    tokenizer = make_tokenizer()
    tokenizer.pad_token = tokenizer.convert_ids_to_tokens(model.config.pad_token_id)
    name = saved(tmp_path / architecture, model, limit=limit, tokenizer=tokenizer)
    assert load_tokenizer(name, 1000).model_max_length == expected
    assert load_tokenizer(name, 16).model_max_length == 16
    trained, tokenizer, _ = load_trained(name)
    assert default_length(trained, tokenizer) == (512 if architecture == "xlnet" else expected)
    assert predict_texts(trained, tokenizer, [("ba be " * 500,)], max_length=min(expected, 100)).shape == (1, 2)


def test_a_second_segment_is_left_out_for_a_model_that_has_one(tmp_path: Path) -> None:
    """RoBERTa's weights with BERT's tokenizer, as several models for Chinese and Korean."""
    model = make_model("roberta", type_vocab_size=1).eval()
    tokenizer = make_tokenizer()
    tokenizer.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
    pair = tokenizer(["ba be"], ["bi bo"], return_tensors="pt")
    pair["token_type_ids"][0, 2:] = 1
    with pytest.raises(IndexError):
        model(**pair)
    name = saved(tmp_path / "one", model, tokenizer=tokenizer)
    assert "token_type_ids" not in load_tokenizer(name)(["ba be"], ["bi bo"])
    own = load_trained(name)[1]
    assert "token_type_ids" not in own(["ba be"], ["bi bo"])
    expected = model(input_ids=pair["input_ids"], attention_mask=pair["attention_mask"]).logits
    found = predict_texts(model, tokenizer, [("ba be", "bi bo")])  # also with a tokenizer that still gives them
    torch.testing.assert_close(torch.tensor(found), expected.detach())
    two = saved(tmp_path / "two", make_model("bert"), tokenizer=tokenizer)
    assert "token_type_ids" in load_tokenizer(two)(["ba be"], ["bi bo"])


def test_a_tokenizer_of_more_tokens_than_the_model_embeds(tmp_path: Path) -> None:
    tokenizer = make_tokenizer()
    tokenizer.add_tokens(["one", "two"])
    name = saved(tmp_path / "more", make_model("bert"), tokenizer=tokenizer)
    for load in (load_tokenizer, load_trained):
        with pytest.raises(RunError, match=r"has 102 tokens, its model embeds 100: .*resize_token_embeddings"):
            load(name)


# --- options of the configuration


@pytest.mark.parametrize("architecture", ["bert", "roberta", "distilbert"])
def test_a_model_without_its_tokenizer(architecture: str, tmp_path: Path) -> None:
    """transformers makes one to which every word is the same unknown token, or none at all."""
    make_model(architecture).save_pretrained(tmp_path)
    for load in (load_tokenizer, load_trained):
        with pytest.raises(RunError, match=r"holds no tokenizer .*tokenizer\.save_pretrained\(folder\)"):
            load(str(tmp_path))
    with pytest.raises(ValueError, match="holds no tokenizer"):
        as_classifier(tmp_path)


def test_the_head_without_dropout_and_the_rest_with_it(tmp_path: Path) -> None:
    """As in fairseq's recipes; 0 does for 0.0."""
    name = saved(tmp_path / "roberta", make_model("roberta"))
    tokenizer = load_tokenizer(name)
    model = load_classifier(name, LABELS, tokenizer, model_kwargs={"classifier_dropout": 0})
    assert model.classifier.dropout.p == 0
    assert model.roberta.encoder.layer[0].output.dropout.p == 0.1
    albert = saved(tmp_path / "albert", AlbertForSequenceClassification(AlbertConfig(**_ALBERT)))
    kwargs = {"classifier_dropout_prob": 0, "hidden_dropout_prob": 0.2}
    model = load_classifier(albert, LABELS, load_tokenizer(albert), model_kwargs=kwargs)
    assert model.dropout.p == 0.0
    assert model.albert.embeddings.dropout.p == 0.2


@pytest.mark.parametrize("kind", ["deberta", "deberta-v2"])
def test_an_option_that_the_checkpoint_does_not_name(kind: str, tmp_path: Path) -> None:
    """DeBERTa's head reads cls_dropout from a configuration that lists no such field, as published ones do not."""
    from transformers import AutoConfig, AutoModelForSequenceClassification

    sizes = {"vocab_size": 100, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = AutoConfig.for_model(kind, **sizes, intermediate_size=16, max_position_embeddings=32)
    model = AutoModelForSequenceClassification.from_config(config)
    assert not hasattr(model.config, "cls_dropout")
    name = saved(tmp_path / kind, model)
    tokenizer = load_tokenizer(name)
    assert load_classifier(name, LABELS, tokenizer).dropout.p == 0.1  # that of the hidden layers
    changed = load_classifier(name, LABELS, tokenizer, model_kwargs={"cls_dropout": 0.3, "hidden_dropout_prob": 0.2})
    assert (changed.dropout.p, changed.config.hidden_dropout_prob) == (0.3, 0.2)
    changed.save_pretrained(tmp_path / "kept")
    assert AutoConfig.from_pretrained(tmp_path / "kept").cls_dropout == 0.3
    with pytest.raises(RunError, match="between 0 and 1, but got 3"):
        load_classifier(name, LABELS, tokenizer, model_kwargs={"cls_dropout": 3.0})


def test_only_lines_that_say_nothing_are_silenced() -> None:
    """Of the tokens that the Trainer takes over from the tokenizer, padding is one that a classifier reads."""
    from transformers import trainer_utils

    quiet_libraries()
    start = "The tokenizer has new PAD/BOS/EOS tokens that differ from the model config. Updated tokens: "
    said = ("mtime may not be reliable", f"{start}{{'bos_token_id': 2}}.", f"{start}{{'pad_token_id': 1}}.", "other")
    for line in said:
        passes = trainer_utils.logger.filter(logging.LogRecord("x", logging.WARNING, "", 0, line, (), None))
        assert bool(passes) == (line in said[2:])


def test_options_that_a_configuration_does_not_know(tmp_path: Path) -> None:
    name = saved(tmp_path / "albert", AlbertForSequenceClassification(AlbertConfig(**_ALBERT)))
    tokenizer = load_tokenizer(name)
    for kwargs, message in (
        (
            {"classifier_dropout": 0.0},
            r"\(albert\) has no 'classifier_dropout'; did you mean classifier_dropout_prob\? Its dropouts are "
            "attention_probs_dropout_prob, classifier_dropout_prob, hidden_dropout_prob",
        ),
        ({"num_labels": 3}, "cannot set 'num_labels', which follows from the data"),
        ({"hidden_dropout_prob": 2.0}, "has to be between 0 and 1, but got 2.0"),
        ({"hidden_dropout_prob": "much"}, "hidden_dropout_prob"),
        ({"max_position_embeddings": 32}, "weights of other sizes.*position_embeddings.*would be random"),
    ):
        with pytest.raises(RunError, match=message):
            load_classifier(name, LABELS, tokenizer, model_kwargs=kwargs)


# --- what is no model


def test_damaged_folders_are_refused_in_one_line(tmp_path: Path) -> None:
    name = saved(tmp_path / "bert", make_model("bert"))
    tokenizer = load_tokenizer(name)
    config, weights = tmp_path / "bert/config.json", tmp_path / "bert/model.safetensors"
    whole = config.read_text(encoding="utf-8")
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(RunError, match="cannot load"):
        load_classifier(name, LABELS, tokenizer)
    for text, message in (
        ("{", "not a valid JSON file"),
        (json.dumps({**json.loads(whole), "hidden_size": "much"}), "hidden_size"),
        ('{"model_type": "nothing-known"}', "nothing-known"),
        ('{"model_type": "vit"}', "is a vit model, of which transformers makes no classifier of texts"),
    ):
        config.write_text(text, encoding="utf-8")
        with pytest.raises(RunError, match=message) as refused:
            load_tokenizer(name)
        assert "\n" not in str(refused.value)
    with pytest.raises(RunError, match=r"holds no trained model \(no model/config.json\)"):
        load_trained(tmp_path)
    with pytest.raises(RunError, match="there is no folder"):
        load_trained(tmp_path / "gone")


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = saved(tmp_path / "bert", make_model("bert"))

    def missing(*args: Any, **kwargs: Any) -> None:
        raise ImportError("it requires the SentencePiece library but it was not found.\nSee its page")

    monkeypatch.setattr("transformers.AutoTokenizer.from_pretrained", missing)
    with pytest.raises(RunError, match="the SentencePiece library but it was not found; install the package"):
        load_tokenizer(name)
