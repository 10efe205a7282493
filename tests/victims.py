"""A model without weights for attacks, and texts that are hard to take, importable as ``victims``."""

import itertools
import re

import numpy as np

SYNONYMS = {
    "superb": ("wonderful", "dire"),
    "film": ("movie", "picture"),
    "plot": ("story",),
    "dull": ("slow",),
    "acting": ("playing",),
}
WEIGHTS = {"superb": 2.0, "wonderful": 1.5, "dire": -3.0, "film": 0.1, "movie": 0.05, "plot": 0.4, "story": 0.2}
WORDS = ("wonderful", "dire", "calm", "dull", "slow")  # to add to a text
HOSTILE = [
    "",
    " \t\n",
    "?!... --- ,,,",
    "😀 ❤️ 👩‍👩‍👧 ok 😀",
    "هذا الفيلم رائع جدا",
    "می‌خواهم فیلم ببینم",
    "ab\x00cd\x1b[31m \u202efoo\u202c bar\r\n",
    "हिन्दी फ़िल्म",
    "e\u0301te\u0301 na\u00efve \u0301lone mark",
    "don't can’t 'quoted' o' state-of-the-art a_b",
    "half \ud83d pair",
    "这部电影非常好看",
    "good " * 500,
    "x" * 20_000,
]


class BagOfWords:
    """p(1) = sigmoid(bias + sum of the weights of the words in all texts); it counts what it is asked."""

    def __init__(self, weights=WEIGHTS, bias=-0.5, pairs=()):
        self.weights, self.bias, self.pairs, self.asked, self.sizes = weights, bias, dict(pairs), [], []

    def __call__(self, texts):
        self.asked += texts
        self.sizes.append(len(texts))
        logits = np.array([self.logit(text) for text in texts])
        p = 1 / (1 + np.exp(-logits))
        return np.stack([1 - p, p], axis=1)

    def logit(self, texts):
        words = re.findall(r"\w+", " ".join(texts).lower())
        pairs = sum(self.pairs.get(pair, 0.0) for pair in itertools.combinations(words, 2)) if self.pairs else 0.0
        return self.bias + sum(self.weights.get(word, 0.0) for word in words) + pairs
