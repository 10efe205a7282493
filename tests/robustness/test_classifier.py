"""Whatever a model in hand is, it becomes texts in, logits out; and what is wrong with it is one line."""

import re
import sys

import numpy as np
import pytest
import torch
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from transformers import (
    AutoModel,
    AutoModelForTokenClassification,
    TextClassificationPipeline,
    TokenClassificationPipeline,
)
from transformers.pipelines import ZeroShotClassificationPipeline

from helpers import make_model, make_tokenizer
from rosetune.robustness.classifier import CallableClassifier, as_classifier
from rosetune.robustness.normalization import normalizing

TEXTS = [("ba be",), ("ko ku la di",), ("",), ("no nu",)]


def named_model(*names):
    """A classifier with names of its classes, by default "bad" and "good"."""
    model = make_model(initializer_range=0.5)
    model.config.id2label = dict(enumerate(names or ("bad", "good")))
    model.config.label2id = {name: i for i, name in model.config.id2label.items()}
    return model


def probabilities(texts):
    return [[0.25, 0.75] if "a" in text else [1.0, 0.0] for text in texts]


def logits_of(model, tokenizer, texts):
    model.eval()
    with torch.no_grad():
        return np.array([model(**tokenizer(*row, return_tensors="pt")).logits[0].tolist() for row in texts])


class TestTransformers:
    @pytest.mark.parametrize("pair", [False, True])
    def test_logits_are_the_models(self, pair):
        model, tokenizer = named_model(), make_tokenizer()
        texts = [(*row, *(("mi ma",) if pair else ())) for row in TEXTS if row[0]]  # no token at all, no logit
        classifier = as_classifier(model, tokenizer, batch_size=2)
        assert classifier.labels == ("bad", "good")
        assert classifier.logits(texts) == pytest.approx(logits_of(model, tokenizer, texts), abs=1e-4)

    def test_a_pipeline_is_its_model(self):
        model, tokenizer = named_model().eval(), make_tokenizer()
        pipe = TextClassificationPipeline(model=model, tokenizer=tokenizer)
        classifier = as_classifier(pipe)
        assert classifier.labels == ("bad", "good")
        texts = [row for row in TEXTS if row[0]]
        for (text,), row in zip(texts, classifier(texts), strict=True):
            shown = {found["label"]: found["score"] for found in pipe(text, top_k=None)}
            assert row == pytest.approx([shown["bad"], shown["good"]], abs=1e-3)

    def test_the_length_of_a_pipeline_holds(self):
        model, tokenizer = make_model(initializer_range=0.5), make_tokenizer()
        pipe = TextClassificationPipeline(model=model, tokenizer=tokenizer, truncation=True, max_length=4)
        long, cut = as_classifier(pipe).logits([("ba be bi bo bu",), ("ba be bi bo",)])
        assert long.tolist() == cut.tolist()

    @pytest.mark.parametrize("place", [".", "model"])
    def test_a_folder_brings_its_normalisation(self, place, tmp_path):
        model, plain = named_model(), make_tokenizer()
        model.save_pretrained(tmp_path / place)
        normalizing(make_tokenizer(), ["invisible"]).save_pretrained(tmp_path / place)
        disguised = [("b\u200ba be",), ("ko k\u2060u la di",)]
        found = as_classifier(tmp_path).logits(disguised)
        assert found == pytest.approx(logits_of(model, plain, [("ba be",), ("ko ku la di",)]), abs=1e-4)
        assert found != pytest.approx(logits_of(model, plain, disguised), abs=1e-4)
        (tmp_path / place / "normalization.json").write_text("{}")
        with pytest.raises(ValueError, match=r"normalization\.json is damaged"):
            as_classifier(tmp_path)

    def test_what_it_sees_of_a_text_is_counted_before_the_text_is_normalised(self):
        """Three words are seen, of four characters each with the one that is dropped."""
        model, text = named_model(), "\u200bba " * 6
        tokenizer = normalizing(make_tokenizer(), ["invisible"])
        tokenizer.model_max_length = 3
        classifier = as_classifier(model, tokenizer)
        assert classifier.visible((text,), 0) == 11
        assert classifier.visible(("ba be",), 0) == 5
        assert classifier.logits([(text[:11],)]).tolist() == classifier.logits([(text,)]).tolist()
        tokenizer.model_max_length = 4
        assert as_classifier(model, tokenizer).visible((text, "be be be be"), 0) == 7

    def test_names_that_are_given_win(self):
        tokenizer = make_tokenizer()
        assert as_classifier(make_model(), tokenizer, labels=["no", "yes"]).labels == ("no", "yes")
        assert as_classifier(make_model(num_labels=1), tokenizer).labels == ()
        with pytest.raises(ValueError, match="2 outputs, but 3 label names"):
            as_classifier(make_model(), tokenizer, labels=["a", "b", "c"])
        with pytest.raises(ValueError, match=r"outputs are bad, good \(config.id2label\), in this order"):
            as_classifier(named_model(), tokenizer, labels=["Good", "Bad"])
        with pytest.raises(ValueError, match="one output is a regression"):
            as_classifier(make_model(num_labels=1), tokenizer, labels=["a", "b"])

    def test_refusals(self):
        model, tokenizer = make_model(), make_tokenizer()
        with pytest.raises(ValueError, match="needs its tokenizer"):
            as_classifier(model)
        with pytest.raises(ValueError, match="several labels at once"):
            as_classifier(make_model(problem_type="multi_label_classification"), tokenizer)
        with pytest.raises(ValueError, match="no transformers model with a configuration"):
            as_classifier(torch.nn.Linear(2, 2), tokenizer)
        with pytest.raises(ValueError, match="pooler_output without logits"):
            as_classifier(AutoModel.from_config(model.config), tokenizer).logits(TEXTS)
        every_token = AutoModelForTokenClassification.from_config(model.config)
        with pytest.raises(ValueError, match=r"gives logits of shape \(4, 4, 2\) for 4 texts and 2 labels"):
            as_classifier(every_token, tokenizer).logits(TEXTS)
        with pytest.raises(ValueError, match="give texts and labels by name"):
            as_classifier(model, ["a text"])
        with pytest.raises(ValueError, match="objects, not names"):
            as_classifier("bert-base-uncased", tokenizer)
        pipe = TextClassificationPipeline(model=model, tokenizer=tokenizer)
        with pytest.raises(ValueError, match="brings its own tokenizer"):
            as_classifier(pipe, tokenizer)

    def test_other_pipelines_are_refused(self):
        model, tokenizer = named_model("entailment", "other"), make_tokenizer()
        for kind in (ZeroShotClassificationPipeline, TokenClassificationPipeline):
            with pytest.raises(ValueError, match="is no text-classification pipeline"):
                as_classifier(kind(model=model, tokenizer=tokenizer))


class TestCallable:
    def test_logits_keep_class_and_probabilities(self):
        classifier = as_classifier(probabilities, labels=["bad", "good"])
        logits = classifier.logits(TEXTS)
        assert np.isfinite(logits).all()
        assert np.exp(logits) == pytest.approx(np.array(probabilities([text for (text,) in TEXTS])))
        assert classifier(TEXTS) == pytest.approx(np.exp(logits))
        assert classifier.labels == ("bad", "good")

    @pytest.mark.parametrize(
        "kind", [np.array, torch.tensor, list, lambda x: torch.tensor(x, dtype=torch.bfloat16).requires_grad_()]
    )
    def test_arrays_tensors_and_lists(self, kind):
        classifier = as_classifier(lambda texts: kind(probabilities(texts)))
        assert classifier(TEXTS) == pytest.approx(np.array(probabilities([text for (text,) in TEXTS])))

    def test_it_gets_strings_or_pairs_in_batches(self):
        asked = []

        def function(texts):
            asked.append(texts)
            return [[0.5, 0.5]] * len(texts)

        classifier = as_classifier(function, batch_size=3)
        classifier(TEXTS)
        classifier([("a", "b")])
        assert asked == [["ba be", "ko ku la di", ""], ["no nu"], [("a", "b")]]
        assert classifier([]).shape == (0, 2)

    def test_names_are_numbers_once_it_has_answered(self):
        classifier = as_classifier(probabilities)
        with pytest.raises(ValueError, match="names no classes before"):
            _ = classifier.labels
        classifier(TEXTS)
        assert classifier.labels == ("0", "1")

    def test_a_sklearn_model_by_its_predict_proba(self):
        fitted = make_pipeline(CountVectorizer(), LogisticRegression()).fit(["good", "bad", "good film"], [1, 0, 1])
        expected = fitted.predict_proba(["good", "bad"])
        assert as_classifier(fitted.predict_proba)([("good",), ("bad",)]) == pytest.approx(expected)
        with pytest.raises(ValueError, match="Pipeline is no function of texts: give its predict_proba"):
            as_classifier(fitted)

    @pytest.mark.parametrize(
        ("answer", "message"),
        [
            (
                lambda texts: 1 / 0,
                "failed on a batch of 2 texts that begins with 'ba be': ZeroDivisionError: division by zero",
            ),
            (lambda texts: [0.9] * len(texts), "a single number per text, not a probability per class"),
            (lambda texts: [[0.9]] * len(texts), "a single number per text, not a probability per class"),
            (lambda texts: [[0.5, 0.5]], r"shape \(1, 2\) to 2 texts"),
            (lambda texts: [], "no answer to 2 texts"),
            (lambda texts: sys.exit(3), "failed on a batch of 2 texts .* SystemExit: 3"),
            (lambda texts: np.zeros((2, 2, 2)), r"shape \(2, 2, 2\) to 2 texts"),
            (lambda texts: 0.5, r"shape \(\) to 2 texts"),
            (lambda texts: [[0.5, 0.5], [np.nan, 0.5]], "not finite for 'ko ku la di'"),
            (lambda texts: [[2.0, -1.0]] * 2, r"gives \[2.0, -1.0\] for 'ba be'.* apply a softmax"),
            (lambda texts: [[0.5, 0.5], [0.7, 0.7]], r"gives \[0.7, 0.7\] for 'ko ku la di'.*sum to 1"),
            (lambda texts: [[0.2, 0.3, 0.5]] * 2, "3 probabilities per text for 2 labels"),
            (lambda texts: [{"label": "good", "score": 0.9}] * 2, "no table of numbers"),
            (lambda texts: [[0.5, 0.5], [1.0]], "no table of numbers"),
            (lambda texts: None, "a single number|no table of numbers|shape"),
        ],
    )
    def test_what_is_wrong_is_one_line(self, answer, message):
        with pytest.raises(ValueError, match=message) as caught:
            as_classifier(answer, labels=["bad", "good"]).logits(TEXTS[:2])
        assert "\n" not in str(caught.value)

    def test_errors_of_many_lines_and_long_texts_are_cut(self):
        def broken(texts):
            raise RuntimeError("first line\nsecond line")

        with pytest.raises(ValueError, match=r"RuntimeError: first line$") as caught:
            as_classifier(broken)([("long " * 1000,)])
        assert len(str(caught.value)) < 200

    def test_refusals(self):
        with pytest.raises(ValueError, match=r"bert-base-uncased holds no saved model \(no config.json\)"):
            as_classifier("bert-base-uncased")
        for nothing in (None, 3):
            with pytest.raises(ValueError, match=re.escape(f"{type(nothing).__name__} is no model")):
                as_classifier(nothing)
        with pytest.raises(ValueError, match="batch_size must be at least 1"):
            as_classifier(probabilities, batch_size=0)


def test_an_error_of_a_named_function_begins_with_its_name():
    """Also one that shows after some batches."""
    later = CallableClassifier(
        lambda texts: [[float("nan") if "no" in text else 0.5, 0.5] for text in texts], batch_size=1, name="guard:nan"
    )
    assert later([("ba",), ("be",)]).tolist() == [[0.5, 0.5], [0.5, 0.5]]
    with pytest.raises(ValueError, match=r"^guard:nan: the model gives a probability that is not finite for 'no'"):
        later([("ba",), ("no",)])
    with pytest.raises(ValueError, match=r"^guard:less: the model failed on the text 'ba': KeyError: 'weights'$"):
        CallableClassifier(lambda texts: {}["weights"], name="guard:less")([("ba",)])
