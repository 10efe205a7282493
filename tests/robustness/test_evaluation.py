import json

import numpy as np
import pytest
import torch
from datasets import Dataset
from scipy.stats import binomtest
from tokenizers import Tokenizer, pre_tokenizers, processors
from tokenizers.models import WordLevel
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from rosetune.robustness.evaluation import compare_rows, predict, predict_texts, prediction_rows, set_metrics
from rosetune.robustness.statistics import estimate

WORDS = [f"w{i}" for i in range(40)]
LABELS = ["no", "maybe", "yes"]
SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
WIDE = 0.5  # the default initialisation is so small that neither rows nor positions would show in the logits


def make_tokenizer(specials=True, **kwargs) -> PreTrainedTokenizerFast:
    vocabulary = {word: i for i, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS])}
    backend = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    if specials:
        backend.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, **{"pad_token": "[PAD]", "unk_token": "[UNK]", "model_max_length": 64, **kwargs}
    )


def make_model(kind=BertForSequenceClassification, config=BertConfig, **kwargs):
    torch.manual_seed(0)
    sizes = {"vocab_size": 44, "num_labels": 3, "max_position_embeddings": 64, "initializer_range": WIDE, **SMALL}
    return kind(config(**sizes, **kwargs))


def make_gpt2(**kwargs):
    torch.manual_seed(0)
    sizes = {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 64}
    return GPT2ForSequenceClassification(
        GPT2Config(vocab_size=44, num_labels=3, initializer_range=WIDE, **sizes, **kwargs)
    )


def make_dataset(n=50, longest=30, pair=False) -> Dataset:
    rng = np.random.default_rng(0)
    columns = {
        "id": [f"e{i}" for i in range(n)],
        "text": [" ".join(rng.choice(WORDS, rng.integers(1, longest))) for _ in range(n)],
        "label": rng.integers(0, 3, n).tolist(),
    }
    if pair:
        columns["other"] = columns["text"][::-1]
    return Dataset.from_dict(columns)


@torch.no_grad()
def one_by_one(model, tokenizer, dataset, columns):
    model.eval()
    rows = [tokenizer(*[row[c] for c in columns], return_tensors="pt") for row in dataset]
    return torch.cat([model(**row).logits for row in rows]).numpy()


class TestPredict:
    @pytest.mark.parametrize("columns", [["text"], ["text", "other"]])
    @pytest.mark.parametrize("batch_size", [1, 7, 64])
    def test_equals_one_forward_per_row_in_dataset_order(self, columns, batch_size):
        model, tokenizer, dataset = make_model(), make_tokenizer(), make_dataset(pair=True)
        expected = one_by_one(model, tokenizer, dataset, columns)
        logits = predict(model, tokenizer, dataset, columns, batch_size=batch_size)
        assert logits.dtype == np.float32
        np.testing.assert_allclose(logits, expected, atol=1e-4)
        assert np.std(expected, axis=0).min() > 0.1  # rows differ, so that a wrong order would show

    def test_batches_hold_rows_of_similar_length(self):
        model, widths = make_model(), []
        model.register_forward_pre_hook(
            lambda module, args, kwargs: widths.append(kwargs["input_ids"].shape[1]), with_kwargs=True
        )
        done = []
        predict(
            model,
            make_tokenizer(),
            make_dataset(),
            ["text"],
            batch_size=10,
            progress=lambda rows, total: done.append((rows, total)),
        )
        assert widths == sorted(widths, reverse=True)
        assert widths[0] > 2 * widths[-1]
        assert done == [(10, 50), (20, 50), (30, 50), (40, 50), (50, 50)]

    def test_modes_of_all_modules_are_restored_also_after_an_error(self):
        model = make_model()
        model.train()
        model.bert.embeddings.eval()
        before = {name: module.training for name, module in model.named_modules()}
        first = predict(model, make_tokenizer(), make_dataset(), ["text"])
        assert {name: module.training for name, module in model.named_modules()} == before
        # Dropout did not act: eval mode was on.
        np.testing.assert_array_equal(first, predict(model, make_tokenizer(), make_dataset(), ["text"]))

        def fail(done, total):
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            predict(model, make_tokenizer(), make_dataset(), ["text"], progress=fail)
        assert {name: module.training for name, module in model.named_modules()} == before
        assert torch.is_inference_mode_enabled() is False

    @pytest.mark.parametrize(
        ("dtype", "expected"),
        [(torch.float64, np.float64), (torch.float32, np.float32), (torch.bfloat16, np.float32)],
    )
    def test_precision(self, dtype, expected):
        assert predict(make_model().to(dtype), make_tokenizer(), make_dataset(4), ["text"]).dtype == expected

    def test_double_precision_does_not_depend_on_batches_beyond_rounding(self):
        model, tokenizer, dataset = make_model().double(), make_tokenizer(), make_dataset()
        expected = one_by_one(model, tokenizer, dataset, ["text"])
        np.testing.assert_allclose(predict(model, tokenizer, dataset, ["text"], batch_size=9), expected, atol=1e-12)

    def test_empty_set(self):
        logits = predict(make_model(), make_tokenizer(), Dataset.from_dict({"text": []}), ["text"])
        assert logits.shape == (0, 3)
        assert logits.dtype == np.float32

    def test_long_texts_are_truncated_to_what_the_model_takes(self):
        dataset = Dataset.from_dict({"text": [" ".join(WORDS * 5)]})
        cut = Dataset.from_dict({"text": [" ".join((WORDS * 5)[:62])]})  # and two special tokens
        for tokenizer in (make_tokenizer(), make_tokenizer(model_max_length=None)):
            logits = predict(make_model(), tokenizer, dataset, ["text"])
            np.testing.assert_allclose(logits, predict(make_model(), tokenizer, cut, ["text"]), atol=1e-4)

    def test_max_length(self):
        dataset = Dataset.from_dict({"text": ["w1 w2 w3 w4 w5 w6"]})
        cut = Dataset.from_dict({"text": ["w1 w2 w3"]})
        model, tokenizer = make_model(), make_tokenizer()
        logits = predict(model, tokenizer, dataset, ["text"], max_length=5)
        np.testing.assert_allclose(logits, predict(model, tokenizer, cut, ["text"]), atol=1e-4)

    def test_roberta_counts_positions_from_after_the_padding_index(self):
        model = make_model(RobertaForSequenceClassification, RobertaConfig, pad_token_id=0)
        tokenizer = make_tokenizer(model_max_length=None)
        tokenizer.model_input_names = ["input_ids", "attention_mask"]
        dataset = Dataset.from_dict({"text": [" ".join(WORDS * 5), "w1 w2"]})
        assert predict(model, tokenizer, dataset, ["text"]).shape == (2, 3)

    def test_formatted_data(self):
        dataset = make_dataset(5)
        expected = predict(make_model(), make_tokenizer(), dataset, ["text"])
        formatted = dataset.with_format("torch")
        np.testing.assert_array_equal(predict(make_model(), make_tokenizer(), formatted, ["text"]), expected)

    @pytest.mark.parametrize("side", ["left", "right"])
    def test_gpt2_rows_do_not_depend_on_their_batch(self, side):
        tokenizer = make_tokenizer(specials=False, padding_side=side)
        tokenizer.model_input_names = ["input_ids", "attention_mask"]
        model, dataset = make_gpt2(pad_token_id=0), make_dataset()
        expected = one_by_one(model, tokenizer, dataset, ["text"])
        logits = predict(model, tokenizer, dataset, ["text"], batch_size=16)
        np.testing.assert_allclose(logits, expected, atol=1e-4)
        assert tokenizer.padding_side == side

    def test_missing_padding_token(self):
        with pytest.raises(ValueError, match=r"set tokenizer\.pad_token .* and model\.config\.pad_token_id"):
            predict(make_gpt2(), make_tokenizer(pad_token=None), make_dataset(3), ["text"])
        with pytest.raises(ValueError, match=r"set tokenizer\.pad_token .* and model\.config\.pad_token_id"):
            predict(make_gpt2(), make_tokenizer(), make_dataset(3), ["text"])

    def test_padding_tokens_that_disagree(self):
        with pytest.raises(ValueError, match=r"pads with 0, but model\.config\.pad_token_id is 5"):
            predict(make_gpt2(pad_token_id=5), make_tokenizer(), make_dataset(3), ["text"])

    @pytest.mark.parametrize("columns", [[], ["sentence"], ["id", "text", "label"]])
    def test_columns(self, columns):
        with pytest.raises(ValueError, match="one or two of the columns"):
            predict(make_model(), make_tokenizer(), make_dataset(3), columns)

    @pytest.mark.parametrize("columns", [["text"], ["text", "other"]])
    def test_texts_at_hand_give_the_same_and_equal_tokens_are_computed_once(self, columns):
        model, tokenizer, dataset = make_model(), make_tokenizer(), make_dataset(12, pair=True)
        once = list(zip(*(dataset[column][:] for column in columns), strict=True))
        texts = [*once, *once[::-1], *(tuple("  " + text for text in row) for row in once[:5])]
        rows = []
        model.register_forward_pre_hook(
            lambda module, args, kwargs: rows.append(len(kwargs["input_ids"])), with_kwargs=True
        )
        logits = predict_texts(model, tokenizer, texts)
        assert sum(rows) == 12
        expected = one_by_one(model, tokenizer, dataset, columns)
        np.testing.assert_allclose(logits, [*expected, *expected[::-1], *expected[:5]], atol=1e-4)
        assert predict_texts(model, tokenizer, []).shape == (0, 3)

    def test_texts_that_differ_beyond_the_length_are_computed_once(self):
        model, rows = make_model(), []
        model.register_forward_pre_hook(
            lambda module, args, kwargs: rows.append(len(kwargs["input_ids"])), with_kwargs=True
        )
        logits = predict_texts(model, make_tokenizer(), [(f"w1 w2 w3 w{i}",) for i in range(4, 9)], max_length=5)
        assert rows == [1]
        assert (logits == logits[0]).all()

    def test_batches_by_default(self):
        model, rows = make_model(), []
        model.register_forward_pre_hook(
            lambda module, args, kwargs: rows.append(len(kwargs["input_ids"])), with_kwargs=True
        )
        predict(model, make_tokenizer(), make_dataset(40), ["text"])
        assert rows == [16, 16, 8]


def logits_for(indices) -> np.ndarray:
    return np.eye(3, dtype=np.float32)[list(indices)] * 1.5


class TestRows:
    def test_rows_survive_json(self):
        dataset = Dataset.from_dict({"id": [7, 8], "label": [2, -1], "original_id": ["o1", None]})
        rows = prediction_rows("adv", dataset, logits_for([2, 0]), LABELS)
        assert rows == [
            {
                "set": "adv",
                "id": 7,
                "gold": "yes",
                "prediction": "yes",
                "logits": [0.0, 0.0, 1.5],
                "original_id": "o1",
            },
            {
                "set": "adv",
                "id": 8,
                "gold": None,
                "prediction": "no",
                "logits": [1.5, 0.0, 0.0],
                "original_id": None,
            },
        ]
        assert json.loads(json.dumps(rows, allow_nan=False)) == rows

    def test_logits_keep_their_bits(self):
        logits = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
        rows = json.loads(json.dumps(prediction_rows("s", make_dataset(4), logits, LABELS)))
        np.testing.assert_array_equal(np.array([row["logits"] for row in rows], dtype=np.float32), logits)

    def test_without_id_and_label(self):
        rows = prediction_rows("s", Dataset.from_dict({"text": ["a", "b"]}), logits_for([0, 1]), LABELS)
        assert [(row["id"], row["gold"]) for row in rows] == [(0, None), (1, None)]
        assert "original_id" not in rows[0]

    def test_formatted_data(self):
        dataset = make_dataset(4)
        logits = logits_for([0, 1, 2, 0])
        for form in ("numpy", "torch"):
            rows = prediction_rows("s", dataset.with_format(form), logits, LABELS)
            assert rows == prediction_rows("s", dataset, logits, LABELS)

    def test_refusals(self):
        dataset = make_dataset(2)
        with pytest.raises(ValueError, match="do not fit 2 rows and 3 labels"):
            prediction_rows("s", dataset, np.zeros((3, 3)), LABELS)
        with pytest.raises(ValueError, match="1 of 2 rows of 's' are not finite"):
            prediction_rows("s", dataset, np.array([[0, 0, np.nan], [0, 0, 1]]), LABELS)
        for label in (3, "yes", 0.5):
            with pytest.raises(ValueError, match="no index of the labels"):
                prediction_rows("s", Dataset.from_dict({"label": [label]}), logits_for([0]), LABELS)


def make_rows(golds, predictions, set_name="s", **columns):
    data = {"id": list(range(len(golds))), "label": list(golds), **columns}
    return prediction_rows(set_name, Dataset.from_dict(data), logits_for(predictions), LABELS)


class TestSetMetrics:
    def test_by_hand(self):
        rows = make_rows([0, 0, 0, 1, 2, -1], [0, 0, 1, 1, 0, 2])
        metrics = set_metrics(rows, LABELS)
        assert metrics["n"] == 5
        assert metrics["accuracy"] == pytest.approx(3 / 5)
        assert metrics["constant"] == {"label": "no", "accuracy": 3 / 5}
        assert metrics["f1"] == pytest.approx((2 / 3 + 2 / 3 + 0) / 3)
        own = estimate([1, 1, 0, 1, 0])
        assert (metrics["low"], metrics["high"]) == (own.low, own.high)
        assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics
        assert list(metrics) == ["n", "accuracy", "low", "high", "f1", "mcc", "constant", "calibration"]

    def test_clusters_by_original(self):
        golds, predictions = [0] * 60, [0] * 30 + [1] * 30
        plain = set_metrics(make_rows(golds, predictions), LABELS)
        originals = [f"o{i // 6}" for i in range(60)]
        clustered = set_metrics(make_rows(golds, predictions, original_id=originals), LABELS)
        assert clustered["high"] - clustered["low"] > 2 * (plain["high"] - plain["low"])
        assert clustered["accuracy"] == plain["accuracy"]
        unknown = set_metrics(make_rows(golds, predictions, original_id=[None] * 60), LABELS)
        assert unknown == plain

    def test_refusals(self):
        with pytest.raises(ValueError, match="several sets"):
            set_metrics(make_rows([0], [0]) + make_rows([0], [0], "other"), LABELS)
        with pytest.raises(ValueError, match="no row has a gold label"):
            set_metrics(make_rows([-1], [0]), LABELS)
        with pytest.raises(ValueError, match="other labels"):
            set_metrics(make_rows([0], [0]), ["yes", "maybe", "no"])
        with pytest.raises(ValueError, match="other labels"):
            set_metrics(make_rows([0], [0]), ["entailment", "neutral", "contradiction"])


class TestCompareRows:
    def test_pairs_by_set_and_id_whatever_the_order(self):
        a = make_rows([0, 1, 2, 0], [0, 1, 0, 1]) + make_rows([0, 0], [1, 1], "other")
        b = make_rows([0, 1, 2, 0], [0, 0, 2, 0]) + make_rows([0, 0], [0, 1], "other")
        result = compare_rows(a, b[::-1])
        assert (result.n, result.only_a, result.only_b) == (6, 1, 3)
        assert result.value == pytest.approx(2 / 6)
        assert result.p == pytest.approx(binomtest(1, 4).pvalue)

    def test_clusters_by_original(self):
        golds = [0] * 60
        a, b = [0] * 30 + [1] * 30, [1] * 12 + [0] * 42 + [1] * 6
        plain = compare_rows(make_rows(golds, a), make_rows(golds, b))
        originals = [f"o{i // 6}" for i in range(60)]
        rows_a, rows_b = (make_rows(golds, side, original_id=originals) for side in (a, b))
        clustered = compare_rows(rows_a, rows_b)
        assert clustered.high - clustered.low > 2 * (plain.high - plain.low)
        assert clustered.value == plain.value

    def test_equal_original_ids_of_two_sets_are_two_originals(self):
        golds, a, b = [0] * 20, [0] * 10 + [1] * 10, [1] * 4 + [0] * 16
        originals = [f"o{i}" for i in range(20)]

        def both_sets(predictions, other):
            return make_rows(golds, predictions, original_id=originals) + make_rows(
                golds, predictions, "other", original_id=other
            )

        shared = compare_rows(both_sets(a, originals), both_sets(b, originals))
        apart = compare_rows(both_sets(a, [f"p{i}" for i in range(20)]), both_sets(b, [f"p{i}" for i in range(20)]))
        assert shared == apart

    def test_rows_without_gold_do_not_count(self):
        result = compare_rows(make_rows([0, -1], [0, 1]), make_rows([0, -1], [0, 0]))
        assert (result.n, result.only_a, result.only_b) == (1, 0, 0)

    def test_refusals(self):
        with pytest.raises(ValueError, match=r"1 only in the first, 0 only in the second, for instance \('s', 1\)"):
            compare_rows(make_rows([0, 1], [0, 1]), make_rows([0], [0]))
        with pytest.raises(ValueError, match="gold 'no' in the first, 'maybe' in the second"):
            compare_rows(make_rows([0], [0]), make_rows([1], [0]))
        with pytest.raises(ValueError, match="more than once in side 2"):
            compare_rows(make_rows([0], [0]), make_rows([0], [0]) * 2)
        with pytest.raises(ValueError, match="no row has a gold label"):
            compare_rows(make_rows([-1], [0]), make_rows([-1], [0]))


def test_from_model_to_comparison():
    dataset, tokenizer = make_dataset(80), make_tokenizer()
    torch.manual_seed(1)
    other = BertForSequenceClassification(make_model().config)
    rows = [
        prediction_rows("clean", dataset, predict(model, tokenizer, dataset, ["text"]), LABELS)
        for model in (make_model(), other)
    ]
    metrics = [set_metrics(side, LABELS) for side in rows]
    difference = compare_rows(*rows)
    assert difference.value == pytest.approx(metrics[1]["accuracy"] - metrics[0]["accuracy"])
