"""A user's file of labelled texts, and where a page speaks of finished runs, nothing yet."""

import csv
from pathlib import Path

exec(Path(SETUP, "model.py").read_text(encoding="utf-8"))  # noqa: F821 (the test gives it)

with open("my.csv", "w", encoding="utf-8", newline="") as file:
    csv.writer(file).writerows([("text", "label"), *zip(texts, labels, strict=True)])  # noqa: F821
with open("new.csv", "w", encoding="utf-8", newline="") as file:
    csv.writer(file).writerows([("number", "text"), *enumerate(texts[:10])])  # noqa: F821
with open("scores.csv", "w", encoding="utf-8", newline="") as file:
    _scores = [round((1 if label == "good" else -1) + i / 97, 2) for i, label in enumerate(labels)]  # noqa: F821
    csv.writer(file).writerows([("text", "score"), *zip(texts, _scores, strict=True)])  # noqa: F821
with open("other.csv", "w", encoding="utf-8", newline="") as file:
    csv.writer(file).writerows([("text", "label"), *list(zip(texts, labels, strict=True))[:30]])  # noqa: F821
with open("spam_filter.py", "w", encoding="utf-8") as file:
    file.write("def predict(texts):\n    return [[0.9, 0.1] if {'awful', 'boring', 'dull', 'stale'} & {*t.split()} ")
    file.write("else [0.2, 0.8] for t in texts]\n")
