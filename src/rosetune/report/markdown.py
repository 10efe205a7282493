"""Text from files within Markdown, so that it stays text."""

import re

__all__ = ["code", "escaped"]

# An underscore within a word emphasises nothing and stays readable.
_SPECIAL = re.compile(r"[\\`*{}\[\]<>|#&~$]|(?<!\w)_|_(?!\w)")


def escaped(text: object) -> str:
    """Text on one line in which nothing is markup, HTML or the end of a table's cell."""
    return _SPECIAL.sub(r"\\\g<0>", " ".join(str(text).split()))


def code(text: object) -> str:
    """A code span on one line; its fence is longer than every run of backticks within."""
    shown = " ".join(str(text).split())
    longest = max(map(len, re.findall("`+", shown)), default=0)
    fence = "`" * (longest + 1)
    return f"{fence} {shown} {fence}" if longest else f"{fence}{shown}{fence}"
