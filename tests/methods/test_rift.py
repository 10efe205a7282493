"""RIFT: its words, its hulls, its adversary and its loss, each against the definition written out again."""

import json
import math
import os
import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.multiprocessing as mp
from datasets import Dataset
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from transformers import PreTrainedTokenizerFast
from transformers.utils import ModelOutput

from helpers import ARCHITECTURES, arguments, logged, make_model, same, train
from rosetune import RobustTrainer, Rose
from rosetune._torch import evaluating
from rosetune.data.synonyms import load_synonyms
from rosetune.methods._ascc import ascc_attack
from rosetune.methods._hull import Substitutes
from rosetune.methods._targets import LAYER_WEIGHTS
from rosetune.methods.rift import Rift, info_nce

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
SYNONYMS = {
    "good": ("fine", "nice", "unfit", "absent", "great"),  # unfit is two pieces, absent is not in the vocabulary
    "film": ("movie", "picture"),
    "unbearable": ("unwatchable", "bad", "rebearable"),
    "bad": ("poor",),
}
WORDS = "the a is was . , ' - good fine nice great film movie picture un ##fit ##bearable ##watchable re bad poor dull"


def fast(tokenizer, pair=True):
    cls, sep = ("[CLS]", tokenizer.token_to_id("[CLS]")), ("[SEP]", tokenizer.token_to_id("[SEP]"))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]" if pair else None, special_tokens=[cls, sep]
    )
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token"), SPECIAL, strict=True))
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)


def wordpiece(words=WORDS, lowercase=True):
    vocabulary = {piece: i for i, piece in enumerate([*SPECIAL, *words.split()])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    return fast(tokenizer)


def byte_level(*words):
    """A byte-level BPE without a prefix space that knows these words, with and without a space before them, whole."""
    vocabulary = {piece: i for i, piece in enumerate([*SPECIAL, *sorted(pre_tokenizers.ByteLevel.alphabet())])}
    merges = []
    for word in words:
        steps = [(word[: stop - 1], word[stop - 1]) for stop in range(2, len(word) + 1)]
        for pair in [*steps, ("Ġ", word)]:
            if "".join(pair) not in vocabulary:
                merges.append(pair)
                vocabulary["".join(pair)] = len(vocabulary)
    tokenizer = Tokenizer(models.BPE(vocabulary, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return fast(tokenizer)


def sentence_piece(*pieces):
    scores = [(piece, 0.0) for piece in SPECIAL] + [(piece, -1.0) for piece in pieces]
    tokenizer = Tokenizer(models.Unigram(scores, unk_id=1, byte_fallback=False))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    return fast(tokenizer)


def encode(tokenizer, *texts, labels=None):
    pairs = [text if isinstance(text, tuple) else (text, None) for text in texts]
    rows = [tokenizer(first, second)["input_ids"] for first, second in pairs]
    batch = dict(tokenizer.pad({"input_ids": rows}, return_tensors="pt"))
    return batch if labels is None else {**batch, "labels": torch.tensor(labels)}


def substituted(tokenizer, text, synonyms=SYNONYMS, limit=10, segment="all"):
    """What the hull of a text offers: {(column, ...): [text of each candidate]}."""
    batch = encode(tokenizer, text)
    hull = Substitutes(tokenizer, synonyms, limit).hull(batch, segment)
    found = {}
    for word, valid in enumerate(hull.valid.tolist()):
        places = (hull.word == word).nonzero()[:, 0]
        candidates = hull.candidates[places].T[: sum(valid)].tolist()
        found[tuple(hull.columns[places].tolist())] = [tokenizer.decode(ids).strip() for ids in candidates]
    return found, hull


def pieces_of(tokenizer, hull):
    """The valid candidates of each substitutable piece, as tokens."""
    counts = hull.valid.sum(1)[hull.word].tolist()
    return [tokenizer.convert_ids_to_tokens(row[:n]) for row, n in zip(hull.candidates, counts, strict=True)]


class Toy(nn.Module):
    """A linear classifier of mean word embeddings, in float64."""

    def __init__(self, labels=2, vocabulary=30, width=4, seed=0):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.embeddings, self.head = nn.Embedding(vocabulary, width).double(), nn.Linear(width, labels).double()
        for parameter in self.parameters():
            nn.init.normal_(parameter, generator=generator)
        self.config = SimpleNamespace(num_labels=labels)

    def get_input_embeddings(self):
        return self.embeddings

    def pool(self, vectors, attention_mask):
        mask = attention_mask.unsqueeze(-1)
        return (vectors * mask).sum(1) / mask.sum(1)

    def forward(self, input_ids, attention_mask):
        return ModelOutput(logits=self.head(self.pool(self.embeddings(input_ids), attention_mask)))


@pytest.fixture
def synonyms(tmp_path):
    path = tmp_path / "synonyms.json"
    path.write_text(json.dumps(SYNONYMS), encoding="utf-8")
    return str(path)


# --- words ---------------------------------------------------------------------------------------------------------


def test_wordpiece_words_and_their_candidates_of_as_many_pieces():
    found, hull = substituted(wordpiece(), "The film, 'good', is un-bearable: unbearable!")
    # [CLS] the film , ' good ' , is un - bearable -> [UNK] ...
    assert found[(2,)] == ["film", "movie", "picture"]
    assert found[(5,)] == ["good", "fine", "nice", "great"]  # unfit has two pieces, absent is unknown
    assert list(found.values())[2:] == [["unbearable", "unwatchable", "rebearable"]]  # bad has one piece
    assert hull.words == 6  # the film good is un unbearable; [UNK] is none
    assert hull.coverage == 3 / 6


def test_at_most_so_many_candidates_with_the_word_itself():
    found, _ = substituted(wordpiece(), "good film", limit=2)
    assert list(found.values()) == [["good", "fine"], ["film", "movie"]]


def test_cased_words_get_candidates_in_their_form():
    words = "Good Fine good fine GOOD gOOD film Film movie un Un ##bearable ##watchable unbearable"
    found, hull = substituted(wordpiece(words, lowercase=False), "Good good GOOD gOOD Film film")
    assert list(found.values()) == [["Good", "Fine"], ["good", "fine"], ["film", "movie"]]
    assert hull.words == 6


def test_special_tokens_padding_and_digits_are_no_words():
    tokenizer = wordpiece(WORDS + " 3 ##d")
    substitutes = Substitutes(tokenizer, {"pad": ("good",), "d": ("good",), **SYNONYMS})
    batch = encode(tokenizer, "3d film", "a a a a a a")
    batch["input_ids"][0, -1] = tokenizer.convert_tokens_to_ids("film")  # beyond the attention mask
    hull = substitutes.hull(batch)
    assert hull.rows.tolist() == [0]
    assert hull.columns.tolist() == [3]  # [CLS] 3 ##d film
    assert hull.words == 7


def test_byte_level_words_keep_their_leading_space_or_none():
    tokenizer = byte_level("film", "movie", "Film", "Movie", "fine", "good")
    assert tokenizer.tokenize("film film") == ["film", "Ġfilm"]
    batch = encode(tokenizer, "film (film) Film, café film's good")
    hull = Substitutes(tokenizer, {**SYNONYMS, "caf": ("fine",), "café": ("fine",)}).hull(batch)
    tokens = pieces_of(tokenizer, hull)
    assert tokens == [
        ["film", "movie"],  # at the beginning
        ["film", "movie"],  # after "("
        ["ĠFilm", "ĠMovie"],
        ["Ġfilm", "Ġmovie"],  # before "'", which stands for itself
        ["Ġgood", "Ġfine"],
    ]
    assert hull.words == 7  # and "café" (of four pieces), "s"


def test_byte_level_with_a_prefix_space_finds_words_without_one():
    tokenizer = byte_level("film", "movie")
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    assert tokenizer.tokenize("film") == ["Ġfilm"]
    hull = Substitutes(tokenizer, SYNONYMS).hull(encode(tokenizer, "film (film"))
    tokens = pieces_of(tokenizer, hull)
    assert tokens == [["Ġfilm", "Ġmovie"], ["film", "movie"]]


def test_sentence_piece_words():
    tokenizer = sentence_piece("▁film", "▁movie", "film", "movie", "▁un", "bear", "able", "watch", "▁(", "(", "▁", "s")
    batch = encode(tokenizer, "film (film unbearable films")
    hull = Substitutes(tokenizer, SYNONYMS).hull(batch)
    tokens = pieces_of(tokenizer, hull)
    assert tokens == [
        ["▁film", "▁movie"],
        ["film", "movie"],
        ["▁un", "▁un"],
        ["bear", "watch"],
        ["able", "able"],
    ]
    assert hull.words == 4


def test_the_second_segment_begins_after_the_first_separator():
    tokenizer = wordpiece()
    pair = ("good film", "a film")
    everywhere, hull = substituted(tokenizer, pair)
    assert (list(everywhere), hull.words) == ([(1,), (2,), (5,)], 4)
    second, hull = substituted(tokenizer, pair, segment="second")
    assert (list(second), hull.words) == ([(5,)], 2)
    with pytest.raises(ValueError, match="no text of the batch has a second segment"):
        substituted(tokenizer, "good film", segment="second")


def test_tokenizers_that_do_not_tell_where_words_start():
    with pytest.raises(ValueError, match="cannot see where words start in the pieces of SimpleNamespace"):
        Substitutes(SimpleNamespace(all_special_ids=[]), SYNONYMS)
    plain = Tokenizer(models.BPE({piece: i for i, piece in enumerate([*SPECIAL, "a", "b"])}, []))
    with pytest.raises(ValueError, match="cannot see where words start"):
        Substitutes(fast(plain), SYNONYMS)


@pytest.mark.usefixtures("demo_packages")
def test_coverage_of_real_sentences(data_dir):
    """The share counted a second way: by the words of the text, split at spaces, which SST-2 is tokenised with."""
    from rosetune.experiments.models import load_tokenizer

    tokenizer = load_tokenizer("demo")
    synonyms = load_synonyms(str(data_dir / "synonyms" / "counterfitted_neighbors.json"))
    lines = (data_dir / "SST-2" / "dev.tsv").read_text(encoding="utf-8").splitlines()[1:200]
    texts = [line.split("\t")[0].strip() for line in lines]
    texts = [
        text
        for text in texts
        if text.isascii() and all(w.isalpha() or not re.search("[a-z]", w) for w in text.split())
    ]
    hull = Substitutes(tokenizer, synonyms).hull(encode(tokenizer, *texts))
    words = [word for text in texts for word in text.split() if word.isalpha()]

    def pieces(word):
        return len(tokenizer.tokenize(word))

    covered = [word for word in words if any(pieces(o) == pieces(word) for o in synonyms.get(word, ()) if o.isalpha())]
    assert hull.words == len(words) > 1000
    assert len(hull.valid) == len(covered)
    assert 0.4 < hull.coverage < 0.7


# --- hulls ---------------------------------------------------------------------------------------------------------


def test_a_hull_by_hand():
    tokenizer, model = wordpiece(), Toy()
    batch = encode(tokenizer, "a film unbearable .", "dull")
    hull = Substitutes(tokenizer, SYNONYMS, limit=3).hull(batch)
    vectors = model.embeddings(hull.candidates)
    clean = model.embeddings(batch["input_ids"])
    weights = torch.tensor([[0.2, 0.3, 0.5], [0.6, 0.1, 0.3]], dtype=torch.float64)
    mixed = hull.mix(clean, weights, vectors)

    def e(piece):
        return model.embeddings.weight[tokenizer.convert_tokens_to_ids(piece)]

    # [CLS] a film un ##bearable . [SEP], and [CLS] dull [SEP] with four of padding
    expected = clean.clone()
    expected[0, 2] = 0.2 * e("film") + 0.3 * e("movie") + 0.5 * e("picture")
    expected[0, 3] = 0.6 * e("un") + 0.1 * e("un") + 0.3 * e("re")
    expected[0, 4] = 0.6 * e("##bearable") + 0.1 * e("##watchable") + 0.3 * e("##bearable")
    torch.testing.assert_close(mixed, expected, rtol=0, atol=1e-15)
    untouched = torch.ones(clean.shape[:2], dtype=torch.bool)
    untouched[0, 2:5] = False
    assert torch.equal(mixed[untouched], clean[untouched])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_one_hot_weights_are_a_word(dtype):
    tokenizer, model = wordpiece(), Toy().to(dtype)
    batch = encode(tokenizer, "good film unbearable", "bad")
    hull = Substitutes(tokenizer, SYNONYMS).hull(batch)
    clean, vectors = model.embeddings(batch["input_ids"]), model.embeddings(hull.candidates)
    itself = nn.functional.one_hot(torch.zeros(4, dtype=torch.long), 10).float()
    assert torch.equal(hull.mix(clean, itself, vectors), clean)
    other = nn.functional.one_hot(torch.ones(4, dtype=torch.long), 10).float()
    swapped = encode(tokenizer, "fine movie unwatchable", "poor")["input_ids"]
    assert torch.equal(hull.mix(clean, other, vectors), model.embeddings(swapped))


# --- adversary -----------------------------------------------------------------------------------------------------


def plain_ascc(model, batch, hull, steps, step_size, sparsity):
    """The adversary written as a loop over the words, with the softmax over the valid candidates alone."""
    counts = hull.valid.sum(1).tolist()
    drawn = torch.randn(hull.valid.shape, dtype=torch.float64)
    drawn *= math.sqrt(2 / (batch["input_ids"].shape[1] * hull.valid.shape[1]))
    words = [drawn[w, :n].clone().requires_grad_() for w, n in enumerate(counts)]
    adam = torch.optim.Adam(words, lr=step_size, weight_decay=2e-5)
    p = model(**batch).logits.softmax(-1).detach()
    for _ in range(steps):
        e = [list(row) for row in model.embeddings(batch["input_ids"]).detach()]
        entropy = 0.0
        for piece, w in enumerate(hull.word.tolist()):
            share = words[w].softmax(0)
            table = model.embeddings.weight.detach()[hull.candidates[piece, : counts[w]]]
            e[hull.rows[piece]][hull.columns[piece]] = sum(a * v for a, v in zip(share, table, strict=True))
        for word in words:
            entropy = entropy - (word.softmax(0) * word.softmax(0).log()).sum()
        pooled = model.pool(torch.stack([torch.stack(row) for row in e]), batch["attention_mask"])
        q = model.head(pooled).softmax(-1)
        gain = (p * (p / q).log()).sum() - sparsity * entropy / 38400
        adam.zero_grad()
        (-gain).backward(inputs=words)
        adam.step()
    return [word.detach().softmax(0) for word in words]


@pytest.mark.parametrize(("steps", "sparsity"), [(1, 0.0), (10, 15.0), (10, 5000.0)])
def test_the_adversary_by_hand(steps, sparsity):
    tokenizer, model = wordpiece(), Toy(labels=3)
    batch = encode(tokenizer, "a good film , unbearable", "bad film", "dull")
    hull = Substitutes(tokenizer, SYNONYMS).hull(batch)
    torch.manual_seed(3)
    expected = plain_ascc(model, batch, hull, steps, 1.0, sparsity)
    torch.manual_seed(3)
    weights, stayed = ascc_attack(model, batch, hull, steps=steps, step_size=1.0, sparsity=sparsity)
    assert stayed.item() == 0
    assert not weights.requires_grad
    for row, valid, by_hand in zip(weights, hull.valid, expected, strict=True):
        torch.testing.assert_close(row[valid], by_hand, rtol=0, atol=1e-9)
        assert (row[~valid] == 0).all()
    assert all(p.grad is None for p in model.parameters())


def kl_of(model, batch, hull, weights):
    vectors = model.embeddings(hull.candidates)
    mixed = hull.mix(model.embeddings(batch["input_ids"]), weights, vectors)
    p = model(**batch).logits.softmax(-1)
    q = model.head(model.pool(mixed, batch["attention_mask"])).softmax(-1)
    return (p * (p / q).log()).sum().item()


def test_the_adversary_moves_the_prediction():
    tokenizer, model = wordpiece(), Toy()
    batch = encode(tokenizer, "a good film , unbearable", "bad film", "good good film")
    hull = Substitutes(tokenizer, SYNONYMS).hull(batch)
    attack = {"step_size": 1.0, "sparsity": 0.0}
    divergences = []
    for steps in (0, 3, 10):
        torch.manual_seed(0)
        divergences.append(kl_of(model, batch, hull, ascc_attack(model, batch, hull, steps=steps, **attack)[0]))
    itself = nn.functional.one_hot(torch.zeros(len(hull.valid), dtype=torch.long), 10).double()
    assert kl_of(model, batch, hull, itself) == pytest.approx(0, abs=1e-12)
    assert 0 < divergences[0] < divergences[1] < divergences[2]


def test_sparsity_makes_the_mixtures_one_hot():
    tokenizer, model = wordpiece(), Toy()
    batch = encode(tokenizer, "a good film , unbearable", "bad film", "good good film")
    hull = Substitutes(tokenizer, SYNONYMS).hull(batch)
    entropies = []
    for sparsity in (0.0, 15.0, 38400.0):
        torch.manual_seed(0)
        weights, _ = ascc_attack(model, batch, hull, steps=10, step_size=1.0, sparsity=sparsity)
        entropies.append(torch.special.entr(weights).sum().item())
    assert entropies[0] > entropies[1] > entropies[2]
    assert entropies[2] < 0.02 * len(weights)


class Broken(Toy):
    """Gives NaN for one row, in eval mode alone."""

    def forward(self, input_ids, attention_mask):
        out = super().forward(input_ids, attention_mask)
        if self.training:
            return out
        factor = torch.ones_like(out.logits)
        factor[1] = float("nan")
        return ModelOutput(logits=out.logits * factor)


def test_a_row_whose_ascent_is_not_finite_stays(synonyms):
    tokenizer = wordpiece()
    batch = encode(tokenizer, "a good film", "bad film", "good", labels=[0, 1, 1])
    features = {k: v for k, v in batch.items() if k != "labels"}
    hull = Substitutes(tokenizer, SYNONYMS).hull(features)
    torch.manual_seed(0)
    start = hull.log_weights(torch.randn(hull.valid.shape, dtype=torch.float64) * math.sqrt(2 / (5 * 10))).exp()
    broken_model, whole_model = Broken(), Toy()
    torch.manual_seed(0)
    weights, stayed = ascc_attack(broken_model, features, hull, steps=4, step_size=1.0, sparsity=15.0)
    torch.manual_seed(0)
    whole, _ = ascc_attack(whole_model, features, hull, steps=4, step_size=1.0, sparsity=15.0)
    broken = hull.row_of_word == 1
    assert stayed.item() == 4
    assert torch.equal(weights[broken], start[broken])
    torch.testing.assert_close(weights[~broken], whole[~broken], rtol=0, atol=1e-12)
    model, rift = Broken(), Rift(synonyms, steps=4)
    rift.setup(model, tokenizer=tokenizer)
    out = rift(model.train(), batch)
    out.loss.backward()
    assert out.terms["nonfinite_ascent"].item() == 4
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


def test_every_module_gets_its_own_mode_back():
    model = make_model()
    model.bert.encoder.eval()
    before = [module.training for module in model.modules()]
    with evaluating(model):
        assert not any(module.training for module in model.modules())
    assert [module.training for module in model.modules()] == before


# --- loss ----------------------------------------------------------------------------------------------------------


def by_hand_nce(model, rift, states, targets, labels, temperature):
    """-log of the softmax over the student's rows, per class, through the projectors, in plain numpy."""
    own = {name: p.detach().numpy() for name, p in rift.named_parameters()}

    def project(who, label, x):
        w1, b1, w2, b2 = (
            own[f"rift.{who}.{label}.{part}"] for part in ("in.weight", "in.bias", "out.weight", "out.bias")
        )
        z = np.maximum(x @ w1.T + b1, 0) @ w2.T + b2
        return z / np.linalg.norm(z, axis=1, keepdims=True)

    total = 0.0
    for label in range(model.head.out_features):
        rows = [i for i, y in enumerate(labels) if y == label]
        if len(rows) < 2:
            continue
        s, t = project("student", label, states[rows]), project("teacher", label, targets[rows])
        for i in range(len(rows)):
            scores = np.exp(s @ t[i] / temperature)
            total -= np.log(scores[i] / scores.sum()) / len(rows)
    return total / model.head.out_features


@pytest.mark.parametrize("options", [{}, {"clean_weight": 1, "kl_weight": 5, "mi_weight": 0.7}, {"temperature": 2.0}])
def test_the_loss_by_hand(synonyms, options):
    """Three classes: one of three rows, one of two, one of a single row."""
    tokenizer, model = wordpiece(), Toy(labels=3)
    texts = ["a good film", "bad film", "good good dull", "unbearable", "the picture is fine", "was poor"]
    labels = [0, 0, 1, 2, 0, 1]
    batch = encode(tokenizer, *texts, labels=labels)
    features = {k: v for k, v in batch.items() if k != "labels"}
    rift = Rift(synonyms, **options)
    rift.setup(model, tokenizer=tokenizer, seed=5)
    targets = model.pool(model.embeddings(batch["input_ids"]), batch["attention_mask"]).detach().numpy()
    with torch.no_grad():
        model.embeddings.weight += 0.3 * torch.randn_like(model.embeddings.weight)  # the teacher stays behind
    torch.manual_seed(1)
    hull = Substitutes(tokenizer, SYNONYMS).hull(features)
    weights, _ = ascc_attack(model, features, hull, steps=10, step_size=1.0, sparsity=15.0)
    torch.manual_seed(1)
    out = rift(model, batch, consistency=False, backward=None)

    vectors = model.embeddings(hull.candidates)
    mixed = hull.mix(model.embeddings(batch["input_ids"]), weights, vectors)
    states = model.pool(mixed, batch["attention_mask"]).detach()
    p = model(**features).logits.softmax(-1).detach().numpy()
    q = model.head(states).softmax(-1).detach().numpy()
    ce = -np.log(p[range(6), labels]).mean()
    kl = (p * np.log(p / q)).sum(1).mean()
    nce = by_hand_nce(model, rift, states.numpy(), targets, labels, rift.temperature)
    expected = rift.clean_weight * ce + rift.kl_weight * kl + rift.mi_weight * nce
    assert out.loss.item() == pytest.approx(expected, abs=1e-10)
    assert out.task_loss.item() == pytest.approx(ce, abs=1e-12)
    values = {name: term.item() for name, term in out.terms.items()}
    assert values == {
        "task_loss": pytest.approx(ce),
        "adversarial": pytest.approx(kl),
        "mutual_information": pytest.approx(nce),
        "substitutable": pytest.approx(7 / 15),
        "nonfinite_ascent": 0,
    }
    assert kl > 1e-3
    assert nce > 0.1
    assert not any(term.requires_grad for term in out.terms.values())
    assert out.consistency is None


def test_one_row_or_none_has_no_contrast_and_no_gradient():
    for rows in (0, 1):
        s, t = (torch.randn(rows, 5, requires_grad=True) for _ in range(2))
        loss = info_nce(s, t, 0.2)
        loss.backward()
        assert loss.item() == 0
        assert not s.grad.any()


def test_perfect_agreement_beats_any_other():
    torch.manual_seed(0)
    s = torch.randn(6, 8, dtype=torch.float64)
    same_order, other = info_nce(s, 3 * s, 0.2), info_nce(s, s.roll(1, 0), 0.2)
    assert same_order < other
    assert info_nce(s, s, 1e-3).item() == pytest.approx(0, abs=1e-12)
    assert info_nce(s, s, 1e9).item() == pytest.approx(math.log(6), abs=1e-6)


def test_both_sides_of_the_kl_and_the_candidates_carry_gradient(synonyms):
    """Against finite differences of the loss, with the adversary's mixture held still."""
    tokenizer, model = wordpiece(), Toy()
    batch = encode(tokenizer, "a good film", "bad film", labels=[0, 0])
    rift = Rift(synonyms, steps=1, step_size=1e-9, mi_weight=0)  # the mixture is its start, whatever the model
    rift.setup(model, tokenizer=tokenizer)

    def loss():
        torch.manual_seed(0)
        return rift(model, batch).loss

    loss().backward()
    movie = tokenizer.convert_tokens_to_ids("movie")
    for weight, index in ((model.embeddings.weight, (movie, 1)), (model.head.weight, (0, 2))):
        values = []
        for change in (1e-5, -2e-5, 1e-5):
            weight.data[index] += change
            values.append(loss().item())
        above, below, _ = values
        assert weight.grad[index].item() == pytest.approx((above - below) / 2e-5, rel=1e-4)
        assert abs(weight.grad[index].item()) > 1e-4


def test_consistency_leaves_the_loss_alone(synonyms):
    tokenizer = wordpiece()
    batch = encode(tokenizer, "a good film", "bad film", "fine", "dull", labels=[0, 1, 0, 1])
    calm = make_model(dropout=0.0)
    rift = Rift(synonyms)
    rift.setup(calm, tokenizer=tokenizer)
    losses = []
    for consistency in (False, True):
        torch.manual_seed(0)
        losses.append(rift(calm, batch, consistency=consistency, backward=None))
    torch.testing.assert_close(losses[0].loss, losses[1].loss)
    assert losses[1].consistency.item() == pytest.approx(0, abs=1e-7)
    assert losses[1].outputs.logits.shape == (4, 2)
    noisy = rift(make_model(dropout=0.3), batch, consistency=True, backward=None)
    assert noisy.consistency.item() > 1e-5
    assert noisy.consistency.requires_grad
    assert "consistency" in noisy.terms


def test_without_substitutes_the_adversary_is_the_clean_text(synonyms):
    tokenizer, model = wordpiece(), Toy()
    rift = Rift(synonyms)
    rift.setup(model, tokenizer=tokenizer)
    out = rift(model, encode(tokenizer, "the dull .", "a", labels=[0, 1]))
    assert out.terms["adversarial"].item() == 0
    assert out.terms["substitutable"].item() == 0


# --- set-up and state ----------------------------------------------------------------------------------------------


def test_the_projectors_have_their_own_seed_and_plain_names(synonyms):
    model = make_model("roberta", num_labels=3)
    state = torch.get_rng_state()
    rifts = []
    for seed in (0, 0, 1):
        rifts.append(Rift(synonyms))
        rifts[-1].setup(model, tokenizer=wordpiece(), seed=seed)
    assert torch.equal(torch.get_rng_state(), state)
    names = [name for name, _ in rifts[0].named_parameters()]
    parts = [f"{layer}.{kind}" for layer in ("in", "out") for kind in ("weight", "bias")]
    assert names == [f"rift.{who}.{c}.{part}" for who in ("student", "teacher") for c in range(3) for part in parts]
    assert not any(re.search(LAYER_WEIGHTS, name) for name in names)
    first, again, other = ([p for _, p in rift.named_parameters()] for rift in rifts)
    assert all(torch.equal(p, q) for p, q in zip(first, again, strict=True))
    assert not any(torch.equal(p, q) for p, q in zip(first, other, strict=True))
    shapes = [tuple(p.shape) for p in first[:4]]
    assert shapes == [(512, 32), (512,), (256, 512), (256,)]
    assert all(p.abs().max() <= p.shape[-1] ** -0.5 for p in first if p.dim() == 2)


def test_the_state_goes_through_a_file_and_fits_only_its_own_kind(tmp_path, synonyms):
    rift, other, bare = Rift(synonyms), Rift(synonyms), Rift(synonyms, mi_weight=0)
    for seed, objective in enumerate((rift, other, bare)):
        objective.setup(make_model(seed=seed), tokenizer=wordpiece(), seed=seed)
    torch.save(rift.state_dict(), tmp_path / "state.pt")
    other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    pairs = zip(rift.named_parameters(), other.named_parameters(), strict=True)
    assert all(torch.equal(p, q) for (_, p), (_, q) in pairs)
    assert all(torch.equal(p, q) for p, q in zip(make_model().parameters(), other._teacher.parameters(), strict=True))
    assert bare.state_dict() == {}
    assert bare.named_parameters() == []
    with pytest.raises(ValueError, match=r"holds projectors, teacher, but nothing is needed: .* mi_weight"):
        bare.load_state_dict(rift.state_dict())


def test_options_are_checked(synonyms, tmp_path):
    bad = [
        ({"kl_weight": -1}, "kl_weight must be a finite number of at least 0, not -1"),
        ({"mi_weight": float("nan")}, "mi_weight must be a finite number"),
        ({"sparsity": float("inf")}, "sparsity must be a finite number"),
        ({"temperature": 0}, "temperature must be a finite number above 0, not 0"),
        ({"step_size": -1}, "step_size"),
        ({"steps": 0}, "steps must be a whole number of at least 1, not 0"),
        ({"max_candidates": 1}, "max_candidates must be a whole number of at least 2, not 1"),
        ({"segment": "first"}, "segment must be one of all, second, not 'first'"),
        ({"label_smoothing": 2}, "label_smoothing"),
    ]
    for options, message in bad:
        with pytest.raises(ValueError, match=message):
            Rift(synonyms, **options)
    with pytest.raises(ValueError, match="rift needs synonyms: give a JSON file"):
        Rift()
    with pytest.raises(ValueError, match="there is no file"):
        Rift(str(tmp_path / "absent.json"))


def test_models_and_batches_that_do_not_fit(synonyms):
    tokenizer = wordpiece()
    batch = encode(tokenizer, "a good film", "bad film", labels=[0, 1])
    rift = Rift(synonyms)
    with pytest.raises(ValueError, match="rift was not set up"):
        rift(Toy(), batch)
    with pytest.raises(ValueError, match=r"pass processing_class=tokenizer to the trainer, or tokenizer= to setup"):
        rift.setup(Toy())
    with pytest.raises(ValueError, match="at least 2 labels"):
        rift.setup(make_model(num_labels=1), tokenizer=tokenizer)
    rift.setup(Toy(), tokenizer=tokenizer)
    with pytest.raises(ValueError, match="one class label a text"):
        rift(Toy(), {**batch, "labels": torch.tensor([0.5, 1.0])})
    with pytest.raises(ValueError, match="one class label a text"):
        rift(Toy(), {**batch, "labels": batch["input_ids"]})
    with pytest.raises(ValueError, match="only be substituted in input_ids"):
        rift(Toy(), {"inputs_embeds": torch.randn(2, 3, 4), "labels": batch["labels"]})
    nameless = wordpiece()
    nameless.sep_token = None
    with pytest.raises(ValueError, match="segment='second' needs a separator token"):
        Rift(synonyms, segment="second").setup(Toy(), tokenizer=nameless)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_architectures(synonyms, architecture):
    tokenizer, model = wordpiece(), make_model(architecture)
    batch = encode(tokenizer, "a good film", "bad film", "fine , unbearable", "dull", labels=[0, 1, 0, 1])
    rift = Rift(synonyms, steps=2, mi_weight=0.1 if architecture != "gpt2" else 0)
    rift.setup(model, tokenizer=tokenizer)
    out = rift(model, batch)
    out.loss.backward()
    assert out.terms["adversarial"].item() > 0
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
    if architecture == "gpt2":
        rift = Rift(synonyms, steps=2)
        rift.setup(model, tokenizer=tokenizer)
        with pytest.raises(ValueError, match="has no pooled state"):
            rift(model, batch)


# --- training ------------------------------------------------------------------------------------------------------


def rows(tokenizer, count=48):
    """Texts of both classes, of which one is rare."""
    good = ["a good film", "the picture is fine , nice", "great"]
    bad = ["bad film", "the movie was unbearable .", "poor , dull , bad"]
    labels = [int(i % 4 == 0) for i in range(count)]
    texts = [(bad if label else good)[i % 3] for i, label in enumerate(labels)]
    return Dataset.from_dict({"input_ids": [tokenizer(text)["input_ids"] for text in texts], "labels": labels})


class Watched(Rift):
    """Keeps the labels of each batch."""

    def __call__(self, model, inputs, **kwargs):
        self.__dict__.setdefault("labels", []).append(inputs["labels"].tolist())
        return super().__call__(model, inputs, **kwargs)


@pytest.mark.parametrize("mask", [None, "second"])
def test_the_trainer_trains_model_and_projectors_but_not_the_teacher(tmp_path, synonyms, mask):
    tokenizer, model = wordpiece(), make_model()
    rift = Watched(synonyms, steps=2)
    update_mask = None if mask is None else Rose(mask, upper=0.5)
    before = [p.detach().clone() for p in model.parameters()]
    trainer = RobustTrainer(
        model,
        arguments(tmp_path, max_steps=4),
        train_dataset=rows(tokenizer),
        processing_class=tokenizer,
        objective=rift,
        update_mask=update_mask,
    )
    trainer.train()
    fresh = Rift(synonyms)
    fresh.setup(make_model(), tokenizer=tokenizer, seed=trainer.args.seed)
    drawn = zip(rift.named_parameters(), fresh.named_parameters(), strict=True)
    assert not any(torch.equal(p, q) for (_, p), (_, q) in drawn)
    assert all(torch.equal(p, b) for p, b in zip(rift._teacher.parameters(), before, strict=True))
    assert not any(p.requires_grad for p in rift._teacher.parameters())
    assert not any(module.training for module in rift._teacher.modules())
    assert any(not torch.equal(p, b) for p, b in zip(model.parameters(), before, strict=True))
    assert all(sorted(labels) == [0] * 4 + [1] * 4 for labels in rift.labels)
    entries = logged(trainer)
    assert {"task_loss", "adversarial", "mutual_information", "substitutable"} <= set(entries[0])
    assert entries[0]["substitutable"] > 0.2
    for entry in entries:
        parts = entry["task_loss"] + 10 * entry["adversarial"] + 0.1 * entry["mutual_information"]
        assert entry["loss"] == pytest.approx(parts, rel=1e-4)


def test_the_gradients_of_a_step_are_those_of_its_micro_batches_alone(synonyms):
    tokenizer, model = wordpiece(), make_model(dropout=0.0)
    batch = encode(tokenizer, "a good film", "fine", "bad film", "dull , bad", labels=[0, 0, 1, 1])
    rift = Rift(synonyms, steps=1)
    rift.setup(model, tokenizer=tokenizer)

    def gradients(times):
        rift.begin_step(model)
        for _ in range(times):
            torch.manual_seed(0)
            rift(model, batch).loss.backward()
        return [p.grad.clone() for _, p in rift.named_parameters()]

    once, twice, again = gradients(1), gradients(2), gradients(1)
    assert all(g.any() for g in once)
    assert all(torch.equal(a, b) for a, b in zip(once, again, strict=True))
    for a, b in zip(once, twice, strict=True):
        torch.testing.assert_close(2 * a, b)


@pytest.mark.parametrize("mask", [None, "ensemble"])
def test_a_resumed_run_is_the_uninterrupted_one(tmp_path, synonyms, mask):
    tokenizer = wordpiece()
    update_mask = None if mask is None else Rose(mask, upper=0.5)

    def run(folder, seed, resume=None, steps=6):
        rift = Rift(synonyms, steps=2)
        args = arguments(
            tmp_path / folder, max_steps=steps, save_strategy="steps", save_steps=3, lr_scheduler_type="constant"
        )
        extra = {"processing_class": tokenizer, "objective": rift, "update_mask": update_mask}
        return train(make_model(seed=seed), args, rows(tokenizer), resume=resume, **extra), rift

    whole, kept = run("whole", 0)
    run("cut", 0, steps=3)
    resumed, loaded = run("cut", 9, resume=str(tmp_path / "cut" / "checkpoint-3"))
    assert same(whole.model, resumed.model)
    for (_, p), (_, q) in zip(kept.named_parameters(), loaded.named_parameters(), strict=True):
        assert torch.equal(p, q)
    assert same(kept._teacher, loaded._teacher)


@pytest.mark.parametrize("variant", ["lora", "bf16"])
def test_lora_and_bf16(tmp_path, synonyms, variant):
    tokenizer, model = wordpiece(), make_model()
    if variant == "lora":
        peft = pytest.importorskip("peft")
        config = peft.LoraConfig(task_type="SEQ_CLS", r=2, target_modules=["query", "value"])
        model = peft.get_peft_model(model, config)
    rift = Rift(synonyms, steps=2)
    before = [p.detach().clone() for p in model.parameters()]
    args = arguments(tmp_path, max_steps=2, bf16=variant == "bf16")
    train(model, args, rows(tokenizer, 16), processing_class=tokenizer, objective=rift)
    moved = [not torch.equal(p, b) for p, b in zip(model.parameters(), before, strict=True)]
    assert any(moved)
    assert all(p.requires_grad for p, m in zip(model.parameters(), moved, strict=True) if m)
    assert all(torch.isfinite(p).all() for p in model.parameters())


# --- two processes -------------------------------------------------------------------------------------------------

SHARES = (  # the second rank sees no row of class 1
    (["a good film", "fine", "bad film", "dull , bad"], [0, 0, 1, 1]),
    (["the picture is great", "nice film", "good", "a good movie"], [0, 0, 0, 0]),
)


def gradients_of(rank, synonyms, wrap):
    tokenizer, model = wordpiece(), make_model(dropout=0.0)
    rift = Rift(synonyms, steps=2)
    rift.setup(model, tokenizer=tokenizer)
    torch.manual_seed(rank)
    texts, labels = SHARES[rank]
    wrapped = wrap(model)
    rift(wrapped, encode(tokenizer, *texts, labels=labels)).loss.backward()
    named = [*model.named_parameters(), *rift.named_parameters()]
    return {name: torch.zeros_like(p) if p.grad is None else p.grad for name, p in named}


def worker(rank, folder, synonyms):
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    torch.save(gradients_of(rank, synonyms, DistributedDataParallel), os.path.join(folder, f"{rank}.pt"))
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_average_the_projectors_too(tmp_path, synonyms):
    mp.spawn(worker, args=(str(tmp_path), synonyms), nprocs=2)
    ranks = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    alone = [gradients_of(rank, synonyms, lambda model: model) for rank in range(2)]
    for name in alone[0]:
        assert torch.equal(ranks[0][name], ranks[1][name])
        torch.testing.assert_close(ranks[0][name], (alone[0][name] + alone[1][name]) / 2, rtol=1e-4, atol=1e-6)
    assert ranks[0]["rift.student.1.in.weight"].any()
