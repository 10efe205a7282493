"""What is summed up from one log line to the next."""

from collections import defaultdict

from torch import Tensor


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

    def take(self) -> dict[str, float]:
        """The means and counts so far, which are then forgotten."""
        means = {name: float(total) / self._values[name] for name, total in self._sums.items()}
        counts = {name: float(count) for name, count in self._counts.items() if float(count)}
        self.clear()
        return means | counts
