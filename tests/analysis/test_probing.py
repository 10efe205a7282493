import json
import re
from collections import Counter

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import matthews_corrcoef

from rosetune.analysis.probing.generator import generate_items, generate_probe
from rosetune.analysis.probing.lexicon import DETERMINERS, INSIDE, JOINERS, OUTSIDE
from rosetune.analysis.probing.msgs import read_msgs
from rosetune.analysis.probing.scoring import Preference, matthews

# Typed again, by what a grammar of English says, and not from the lexicon. Raising: "there" can be the subject ("there
# seemed to be a problem", "there was said to be one"). Control: it cannot ("*there was eager to be a problem").
CONTROL = """
afraid agreed aimed anxious ashamed asked attempted begged careful content curious dared decided declined delighted
desperate determined eager embarrassed encouraged forced forgot glad happy hesitant hesitated hoped hurried impatient
inclined instructed intended invited keen learned managed motivated neglected offered ordered persuaded planned pleased
prepared pretended promised proud refused relieved reluctant remembered rushed sorry struggled tempted told tried
unwilling urged volunteered vowed wanted willing wished
"""
RAISING = """
about alleged appeared apt assumed began believed bound ceased certain chanced claimed continued destined due expected
failed fated found going guaranteed happened heard imagined known liable likely observed ought predicted presumed
reported said scheduled seemed seen set shown slated started supposed sure suspected tended thought understood unlikely
used
"""
PREDICATE = re.compile(rf"\b({'|'.join([*CONTROL.split(), *RAISING.split()])}) to\b")
# What follows "was", by its endings and by hand; all others are verbs in the past.
FINITE = """
agreed aimed appeared attempted began begged ceased chanced continued dared decided declined failed forgot happened
hesitated hoped hurried intended learned managed neglected offered ought planned pretended promised refused remembered
rushed seemed started struggled tended tried used volunteered vowed wanted wished
"""


def construction(sentence: str) -> int:
    """1 for control, 0 for raising, by the word before the only `to`."""
    (word,) = PREDICATE.findall(sentence)
    assert sentence.count(" to ") == 1
    return int(word in CONTROL.split())


def on_the_surface(sentence: str, surface: str) -> int:
    words = sentence.lower().split()
    return int("the" in words) if surface == "the" else int(len(words) >= 16)


@pytest.mark.parametrize("surface", ["the", "length"])
class TestGenerator:
    def test_cells_are_balanced_and_labels_right(self, surface):
        for lexicon in (INSIDE, OUTSIDE):
            items = generate_items(surface, lexicon, 300, (5, 0))
            cells = Counter((item.linguistic, item.surface) for item in items)
            assert cells == dict.fromkeys([(0, 0), (0, 1), (1, 0), (1, 1)], 300)
            assert len({i.sentence for i in items}) == 1200
            for item in items:
                assert construction(item.sentence) == item.linguistic, item.sentence
                assert on_the_surface(item.sentence, surface) == item.surface, item.sentence
                (word,) = PREDICATE.findall(item.sentence)
                assert (f" was {word} to " in item.sentence) == (word not in FINITE.split()), item.sentence
                assert "{" not in item.sentence

    def test_parts(self, surface):
        probe = generate_probe(surface, 100)
        for sentence, label in probe.ambiguous.train:
            assert construction(sentence) == on_the_surface(sentence, surface) == label
        for sentence, label in probe.ambiguous.test:
            assert construction(sentence) == label != on_the_surface(sentence, surface)
        sizes = [len(part) for each in (probe.ambiguous, probe.linguistic, probe.surface) for part in each]
        assert sizes == [200] * 6  # a control has no more rows, and steps, than the model that it vouches for
        for part in (*probe.linguistic, *probe.surface):
            cells = Counter((construction(s), on_the_surface(s, surface)) for s, _ in part)
            assert cells == dict.fromkeys([(0, 0), (0, 1), (1, 0), (1, 1)], 50)
        assert len(probe.agreeing) == 200
        for sentence, label in probe.agreeing:
            assert construction(sentence) == on_the_surface(sentence, surface) == label
        assert [label for _, label in probe.surface.test] == [
            on_the_surface(s, surface) for s, _ in probe.surface.test
        ]

    def test_there_are_dozens_of_predicates_in_each_half(self, surface):
        probe = generate_probe(surface, 1000)
        for rows in probe.linguistic:
            words = Counter(PREDICATE.findall(sentence)[0] for sentence, _ in rows)
            assert len(words & Counter(dict.fromkeys(CONTROL.split(), 1))) >= 24
            assert len(words & Counter(dict.fromkeys(RAISING.split(), 1))) >= 24

    def test_what_is_held_out_has_other_predicates(self, surface):
        probe = generate_probe(surface, 300)
        trained = {PREDICATE.findall(sentence)[0] for sentence, _ in probe.ambiguous.train}
        for rows in (probe.ambiguous.test, probe.agreeing):
            assert not trained & {PREDICATE.findall(sentence)[0] for sentence, _ in rows}

    def test_seeds(self, surface):
        assert generate_probe(surface, 20, seed=1) == generate_probe(surface, 20, seed=1)
        assert generate_probe(surface, 20, seed=1) != generate_probe(surface, 20, seed=2)

    def test_only_the_surface_is_in_the_bag_of_words(self, surface):
        probe = generate_probe(surface, 500)
        assert bag_of_words(probe.surface) > 0.9
        assert abs(bag_of_words(probe.linguistic)) < 0.1
        assert bag_of_words(probe.ambiguous) < -0.9  # what it learns is the surface

    def test_halves_share_function_words_alone(self, surface):
        probe = generate_probe(surface, 500)
        inside, outside = ({w for s, _ in part for w in s.lower().split()} for part in probe.linguistic)
        assert len(inside) > 100
        assert inside & outside == {*DETERMINERS, *JOINERS, "the", "to", "was", ",", "."}


def bag_of_words(part) -> float:
    """Matthews correlation of a logistic regression on counts of words."""
    counter = CountVectorizer(token_pattern=r"\S+")
    train, test = ([sentence for sentence, _ in rows] for rows in part)
    golds = [[label for _, label in rows] for rows in part]
    fitted = LogisticRegression(C=0.1, max_iter=2000).fit(counter.fit_transform(train), golds[0])
    return matthews_corrcoef(golds[1], fitted.predict(counter.transform(test)))


def test_what_the_generator_refuses():
    with pytest.raises(ValueError, match="'the' or 'length', not 'colour'"):
        generate_probe("colour")


def test_matthews_is_scikit_learns():
    rng = np.random.default_rng(0)
    for _ in range(5):
        gold, predicted = rng.integers(2, size=(2, 30))
        assert matthews(gold, predicted) == pytest.approx(matthews_corrcoef(gold, predicted))
    assert matthews([0, 1], [1, 1]) == 0.0
    assert matthews([0, 1], [1, 0]) == -1.0


def test_a_probe_is_read_only_where_its_own_task_and_both_controls_are_learnt():
    assert Preference(0.2, 0.9, 1.0, 0.8).readable
    assert not Preference(0.2, 0.3, 1.0, 0.8).readable
    assert not Preference(0.2, 0.9, 0.0, 0.8).readable
    assert not Preference(0.0, 0.9, 1.0, 0.0).readable  # not trained at all: no preference for the surface
    assert not Preference(0.2, 0.9, 1.0, float("nan")).readable


class TestMsgs:
    @staticmethod
    def write(path, rows):
        path.parent.mkdir(parents=True, exist_ok=True)
        fields = ("sentence", "linguistic_feature_label", "surface_feature_label", "condition")
        path.write_text("".join(json.dumps(dict(zip(fields, row, strict=False))) + "\n" for row in rows))

    @pytest.fixture
    def folder(self, tmp_path):
        mixed = tmp_path / "control_raising_length"
        self.write(mixed / "train.jsonl", [("a", 1, 1), ("b", 0, 0)])
        # As the generators leave it: training, test and further rows, which are held out.
        rows = [("a", 1, 1, "training"), ("z", 0, 0, "training"), ("c", 1, 0, "test"), ("d", 0, 1, "test")]
        self.write(mixed / "test.jsonl", [*rows, ("e", 0, 0, "control"), ("f", 1, 1, "control"), ("b", 0, 0)])
        for part in ("train", "test"):
            self.write(tmp_path / "control_raising_control" / f"{part}.jsonl", [(f"l{part}", 1, None), ("m", 0, None)])
            self.write(tmp_path / "length_control" / f"{part}.jsonl", [(f"s{part}", None, 1), ("t", None, 0)])
        return tmp_path

    def test_rows_are_filtered_by_their_labels(self, folder):
        probe = read_msgs(folder)
        assert probe.ambiguous == ((("a", 1), ("b", 0)), (("c", 1), ("d", 0)))
        assert probe.agreeing == (("e", 0), ("f", 1))  # neither of the condition training, nor among its rows
        assert probe.linguistic.test == (("ltest", 1), ("m", 0))
        assert probe.surface.train == (("strain", 1), ("t", 0))

    def test_what_is_refused(self, folder):
        with pytest.raises(ValueError, match=r"cannot read .*lexical_content_the.train.jsonl: No such file"):
            read_msgs(folder, surface="lexical_content_the")
        (folder / "length_control" / "train.jsonl").write_text('{"sentence": "x"}\n')
        with pytest.raises(ValueError, match="line 1 is no row of MSGS"):
            read_msgs(folder)
        self.write(folder / "control_raising_length" / "test.jsonl", [("a", 1, 1)])
        with pytest.raises(ValueError, match="no rows of both labels"):
            read_msgs(folder)
        self.write(folder / "control_raising_length" / "test.jsonl", [("c", 1, 0), ("d", 0, 1), ("e", 0, 0)])
        with pytest.raises(ValueError, match=r"where both features agree, held out in test\.jsonl"):
            read_msgs(folder)
