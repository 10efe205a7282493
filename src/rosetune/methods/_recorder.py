"""The multipliers of every step, where they are recorded."""

from typing import Any

import numpy as np
import torch
from torch.nn import Parameter

from rosetune.mask_trace import MaskTrace


class Recorder:
    """Collects the rows of a :class:`~rosetune.mask_trace.MaskTrace`; without ``wanted`` nothing."""

    def __init__(self, wanted: bool) -> None:
        self._rows: list[list[float]] | None = [] if wanted else None
        self._names: tuple[str, ...] = ()
        self._sizes: list[int] = []

    def add(self, targets: list[tuple[str, Parameter]], multipliers: list[float]) -> None:
        """Record one step.

        Raises:
            ValueError: these are other targets than those of the steps before.
        """
        if self._rows is None:
            return
        names = tuple(name for name, _ in targets)
        if self._rows and names != self._names:
            raise ValueError(
                f"the {len(self._names)} targets have become {len(names)} others, which a trace cannot hold: "
                "use trace=False where parameters are added or unfrozen on the way"
            )
        self._names, self._sizes = names, [parameter.numel() for _, parameter in targets]
        self._rows.append(multipliers)

    @property
    def trace(self) -> MaskTrace | None:
        """What was recorded; None where it is nothing."""
        if not self._rows:
            return None
        return MaskTrace(self._names, np.array(self._sizes), np.array(self._rows, dtype=np.float32))

    def state_dict(self) -> dict[str, Any]:
        """The trace so far under ``"trace"``; empty where none is wanted."""
        if self._rows is None:
            return {}
        rows = torch.tensor(self._rows, dtype=torch.float32)
        return {"trace": {"names": list(self._names), "sizes": list(self._sizes), "multipliers": rows}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with the trace in a state that :meth:`state_dict` is part of."""
        if self._rows is not None:
            self._names, self._sizes = tuple(state["trace"]["names"]), list(state["trace"]["sizes"])
            self._rows = state["trace"]["multipliers"].tolist()
