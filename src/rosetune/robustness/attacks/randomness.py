"""Random numbers that depend on a key alone: not on the process, the order of work, or other examples."""

import hashlib
from collections.abc import Sequence
from random import Random
from typing import TypeVar

__all__ = ["generator", "pick"]

T = TypeVar("T")


def generator(key: str) -> Random:
    """A generator seeded by a text."""
    # surrogatepass: an id decoded from JSON may hold half of a surrogate pair, which strict UTF-8 refuses.
    digest = hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=16).digest()
    return Random(int.from_bytes(digest, "big"))


def pick(options: Sequence[T], rng: Random) -> T:
    """One of the options, with equal chance."""
    # random() is the one method whose sequence Python promises to keep between versions.
    return options[int(rng.random() * len(options))]
