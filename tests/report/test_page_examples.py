"""Which words of a text an attack has changed, and how examples lie in the page."""

import json
from itertools import pairwise
from typing import Any

import pytest

from rosetune.report.html.examples import changed_spans, script_json


def result(text: str, *changes: tuple[int, str, str]) -> dict[str, Any]:
    return {"texts": ["other", text], "column": 1, "changes": [list(change) for change in changes]}


def applied(text: str, spans: list[list[Any]]) -> str:
    """The text with its spans replaced, from the last to the first."""
    for start, stop, after in reversed(spans):
        text = text[:start] + after + text[stop:]
    return text


@pytest.mark.parametrize(
    ("text", "changes", "after"),
    [
        ("a fine, fine film", [(1, "fine", "bad"), (3, "film", "movie")], "a bad, fine movie"),
        ("don't go", [(0, "don't", "do")], "do go"),
        ("\U0001f600 good \U0001f600 day", [(1, "day", "dya")], "\U0001f600 good \U0001f600 dya"),
        ("drop this word", [(1, "this", "")], "drop  word"),
        ("two words", [(1, "words", "w"), (0, "two", "t")], "t w"),  # in any order
        ("at the end", [(3, "", " now")], "at the end now"),  # TextAttack adds a word
        ("", [(0, "", "new")], "new"),
    ],
)
def test_spans_applied_give_the_adversarial_text(text: str, changes: list[Any], after: str) -> None:
    spans = changed_spans(result(text, *changes))
    assert applied(text, spans) == after
    assert all(left[1] <= right[0] for left, right in pairwise(spans))


@pytest.mark.parametrize(
    "text", ["</script>", "<!--", "<SCRIPT>", "\u2028\u2029", "\x00\x1f", '"\\', "]]>", "\U0001f600"]
)
def test_json_in_a_script_ends_nothing_and_reads_the_same(text: str) -> None:
    written = script_json({"text": text})
    assert "<" not in written
    assert "\u2028" not in written
    assert json.loads(written) == {"text": text}


def test_half_of_a_surrogate_pair_is_marked() -> None:
    assert json.loads(script_json("a\ud800b")) == "a\N{REPLACEMENT CHARACTER}b"
    script_json("a\ud800b").encode("utf-8")
