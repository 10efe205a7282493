"""Normalisation undoes exactly what it claims to, leaves other texts alone, and stays with the model."""

import copy
import pickle
import re
from random import Random

import pytest

from helpers import make_tokenizer
from rosetune.robustness.noise import NOISES
from rosetune.robustness.normalization import FILE, STEPS, normalize, normalizing, read_steps

PLAIN = "This wonderful picture, ALTHOUGH slow (nearly 3 hours), is a well-acted comedy. Don't miss it!"
UNDOES = {
    "invisible_characters": "invisible",
    "homoglyphs": "confusables",
    "spaced_letters": "spaced",
    "leetspeak": "leet",
}


@pytest.mark.parametrize(("noise", "step"), UNDOES.items())
@pytest.mark.parametrize("strength", [0.3, 1.0])
def test_each_step_undoes_its_noise_exactly(noise, step, strength):
    for seed in range(30):
        noisy = NOISES[noise](PLAIN, strength, Random(seed))
        assert noisy != PLAIN
        assert normalize(noisy, [step]) == PLAIN
        assert normalize(noisy) == PLAIN


@pytest.mark.parametrize(
    ("step", "text", "expected"),
    [
        ("nfkc", "ｆｒｅｅ ① 𝒄𝒂𝒔𝒉 ﬁlm", "free 1 cash film"),
        ("invisible", "\ufefffr\u00adee\u200b mo\u2060ney\u202e!", "free money!"),
        ("confusables", "рауpаl", "paypal"),
        ("spaced", "f r e e money", "free money"),
        ("spaced", "f r e e  m o n e y  now", "free money now"),
        ("spaced", 'so (f r e e) and "f r e e"!', 'so (free) and "free"!'),
        ("spaced", "please c a l l 0800, 5 s t a r hotel", "please call 0800, 5 star hotel"),
        ("leet", "fr3e C4$H now, 3rd time, h3llo", "free CASH now, 3rd time, hello"),
    ],
)
def test_by_hand(step, text, expected):
    assert normalize(text, [step]) == expected


@pytest.mark.parametrize(
    ("step", "text"),
    [
        (None, PLAIN),
        (None, ""),
        ("invisible", "می\u200cخواهم"),  # a joiner decides what a Persian word is
        ("invisible", "👩\u200d👩\u200d👧"),
        ("invisible", "\u0601\u0661"),  # an Arabic sign that is seen
        ("invisible", "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f"),  # Scotland's flag
        ("confusables", "Хорошая оса, не жужжи"),  # a Russian text, in which the word for wasp is all look-alikes
        ("spaced", "I a film, 一 部 非 常"),
        (None, "it's a b movie"),
        (None, "I'm a U S citizen"),
        (None, "that's a C, i"),
        ("spaced", "no w@y i c@n"),
        (None, "I a m, plan a b c, isn't a b c"),
        ("leet", "3rd, mp3, 4, covid19, a+b, 10 000"),
    ],
)
def test_what_stays(step, text):
    assert normalize(text, STEPS if step is None else [step]) == text


def test_leetspeak_beside_single_letters():
    assert normalize("no w@y i c@n") == "no way i can"


def sentence(rng):
    """A plain English sentence; every word, mark and gap may stand beside every other."""
    words = (
        *("I", "a", "A", "it's", "I'm", "don't", "that's", "U", "S", "plan", "a b", "A B C", "movie", "citizen"),
        *(
            "well-acted",
            "'great'",
            '"lovely"',
            "(slow)",
            "half/price",
            "WONDERFUL",
            "Although",
            "10",
            "2nd",
            "18years",
        ),
        *("over18's", "$4.99", "£1,000", "50%", "5pm", "10:30am", "o'clock", "mail@example.com", "user99@host1.net"),
        *("www.example.co.uk", "my_file", "cash£100", "year2year", "rock&roll", "#winner", "@someone", "C", "i"),
    )
    pieces = [rng.choice(('"', "(", "-", " ")) if rng.random() < 0.1 else ""]
    for _ in range(rng.randrange(1, 12)):
        pieces += [rng.choice(words), rng.choice((" ", " ", " ", ", ", ". ", "! ", " - ", "  ", "...", "\n", "; "))]
    return "".join(pieces[:-1]) + rng.choice(("", ".", "!", "?", " ", " :)"))


@pytest.mark.parametrize(("noise", "step"), UNDOES.items())
def test_a_text_under_noise_becomes_what_it_is_without(noise, step):
    """Also a text that the normalisation changes, an address for one: noise then makes no difference."""
    rng = Random(0)
    for seed in range(1500):
        text = sentence(rng)
        if noise == "spaced_letters" and re.search(r"\b[A-Za-z](?: [A-Za-z]\b){3}", text):
            continue  # letters that the text spaces itself
        noisy = NOISES[noise](text, rng.choice((0.3, 1.0)), Random(seed))
        assert normalize(noisy) == normalize(text), (text, noisy)
        assert normalize(noisy, [step]) == normalize(text, [step]), (text, noisy)


@pytest.mark.parametrize(
    ("noise", "text"),
    [
        ("leetspeak", "my eBAy"),
        ("homoglyphs", "a 5 μm film"),
        ("spaced_letters", "the ﬁlms"),
        ("spaced_letters", "buy; A B C D films."),
    ],
)
def test_what_cannot_be_undone(noise, text):
    assert any(normalize(NOISES[noise](text, 1.0, Random(seed))) != normalize(text) for seed in range(20))


def test_normalising_again_changes_nothing():
    for noise in UNDOES:
        once = normalize(NOISES[noise](PLAIN, 1.0, Random(1)))
        assert normalize(once) == once


def test_a_tokenizer_normalises_every_text_and_keeps_its_steps(tmp_path):
    from transformers import AutoTokenizer

    plain, tokenizer = make_tokenizer(), normalizing(make_tokenizer(), ["spaced", "invisible"])
    disguised = "b\u200ba b o b a"
    assert type(tokenizer).__name__ == type(plain).__name__
    assert tokenizer(disguised)["input_ids"] == plain("ba boba")["input_ids"]
    assert tokenizer([disguised], text_pair=["l\u200bo"])["input_ids"] == plain(["ba boba"], ["lo"])["input_ids"]
    tokenizer.save_pretrained(tmp_path)
    assert read_steps(tmp_path) == ("invisible", "spaced")
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert again("ba")["input_ids"] == plain("ba")["input_ids"]
    assert again(disguised)["input_ids"] != plain("ba boba")["input_ids"]  # transformers does not know of it


def test_steps_give_way_to_later_ones(tmp_path):
    """What is saved is what a text goes through."""
    tokenizer = normalizing(normalizing(make_tokenizer(), ["spaced"]), ["leet"])
    disguised = "l o b a b4"
    tokenizer.save_pretrained(tmp_path)
    assert read_steps(tmp_path) == ("leet",) == tokenizer.normalization
    assert tokenizer(disguised)["input_ids"] == make_tokenizer()(normalize(disguised, ["leet"]))["input_ids"]


def test_every_way_into_a_tokenizer_is_normalised_once():
    """A wider gap is narrowed by one space each time, so that twice would show."""
    plain, tokenizer = make_tokenizer(), normalizing(make_tokenizer(), ["spaced"])
    disguised = "b a b o  l o b a   ba"
    text = normalize(disguised, ["spaced"])
    assert normalize(text, ["spaced"]) == text != disguised
    for read in ("__call__", "encode", "tokenize"):
        assert getattr(tokenizer, read)(disguised) == getattr(plain, read)(text), read
    assert tokenizer.encode("ba", text_pair=disguised) == plain.encode("ba", text_pair=text)


@pytest.mark.parametrize("again", [lambda t: pickle.loads(pickle.dumps(t)), copy.deepcopy], ids=["pickled", "copied"])
def test_a_copy_normalises_too(again):
    """Workers of a loader that are spawned get a pickle."""
    tokenizer = normalizing(make_tokenizer(), ["spaced", "invisible"])
    other = again(tokenizer)
    assert other is not tokenizer
    assert other.normalization == tokenizer.normalization
    assert other("b a b\u200b o")["input_ids"] == tokenizer("b a b\u200b o")["input_ids"]
    assert other("b a b\u200b o")["input_ids"] != make_tokenizer()("b a b\u200b o")["input_ids"]


def test_refusals(tmp_path):
    with pytest.raises(ValueError, match="unknown normalisation rot13; there are nfkc, invisible"):
        normalize("a", ["rot13"])
    assert read_steps(tmp_path) == ()
    for damaged in ("{", "[]", '{"steps": ["rot13"]}', '{"steps": 3}'):
        (tmp_path / FILE).write_text(damaged)
        with pytest.raises(ValueError, match=r"normalization\.json is damaged"):
            read_steps(tmp_path)
