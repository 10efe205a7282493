"""What is summed up from one log line to the next."""

from collections import defaultdict
from typing import Any

import torch
from torch import Tensor

from rosetune._torch import world_size


class Means:
    """Means and counts of scalars by name, on their device until they are asked for."""

    def __init__(self) -> None:
        self.clear()

    def add(self, name: str, value: Tensor | float) -> None:
        """One more value of a mean."""
        self._sums[name] += value
        self._values[name] += 1

    def count(self, name: str, value: Tensor | float) -> None:
        """So many more of something, of which nothing is said where there is none."""
        self._counts[name] += value

    def clear(self) -> None:
        """Forget all."""
        self._sums: dict[str, Tensor | float] = defaultdict(float)
        self._counts: dict[str, Tensor | float] = defaultdict(float)
        self._values: dict[str, int] = defaultdict(int)

    def gather(self) -> None:
        """Take the means over all processes; each of them calls this, once before :meth:`take`."""
        if world_size() == 1:
            return
        own = {name: (float(total), self._values[name]) for name, total in self._sums.items()}
        parts: list[Any] = [None] * world_size()
        torch.distributed.all_gather_object(parts, own)
        self._sums, self._values = defaultdict(float), defaultdict(int)
        for part in parts:
            for name, (total, values) in part.items():
                self._sums[name] += total
                self._values[name] += values

    def take(self) -> dict[str, float]:
        """The means and counts so far, which are then forgotten."""
        means = {name: float(total) / self._values[name] for name, total in self._sums.items()}
        counts = {name: float(count) for name, count in self._counts.items() if float(count)}
        self.clear()
        return means | counts
