"""The multipliers of every step, where they are recorded."""

import math
from typing import Any

import numpy as np
import torch
from torch.nn import Parameter

from rosetune.mask_trace import MaskTrace


class Recorder:
    """Collects the rows of a :class:`~rosetune.mask_trace.MaskTrace`; without ``wanted`` nothing.

    Args:
        chooses: whether the mask chooses the shares that it keeps.
    """

    def __init__(self, wanted: bool, chooses: bool) -> None:
        self._rows: list[list[float]] | None = [] if wanted else None
        self._chosen: list[list[float]] | None = [] if wanted and chooses else None
        self._names: tuple[str, ...] = ()
        self._sizes: list[int] = []

    def add(self, targets: list[tuple[str, Parameter]], multipliers: list[float], shares: dict[str, float]) -> None:
        """Record one step.

        Args:
            shares: what was chosen in it, by "first" and "second".

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
        if self._chosen is not None:
            self._chosen.append([shares.get(name, math.nan) for name in ("first", "second")])

    @property
    def trace(self) -> MaskTrace | None:
        """What was recorded; None where it is nothing."""
        if not self._rows:
            return None
        chosen = None if self._chosen is None else np.array(self._chosen, dtype=np.float32)
        return MaskTrace(self._names, np.array(self._sizes), np.array(self._rows, dtype=np.float32), chosen)

    def state_dict(self) -> dict[str, Any]:
        """The trace so far under ``"trace"``; empty where none is wanted."""
        if self._rows is None:
            return {}
        rows = torch.tensor(self._rows, dtype=torch.float32)
        state = {"names": list(self._names), "sizes": list(self._sizes), "multipliers": rows}
        if self._chosen is not None:
            state["chosen"] = torch.tensor(self._chosen, dtype=torch.float32)
        return {"trace": state}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with the trace in a state that :meth:`state_dict` is part of."""
        if self._rows is not None:
            self._names, self._sizes = tuple(state["trace"]["names"]), list(state["trace"]["sizes"])
            self._rows = state["trace"]["multipliers"].tolist()
        if self._chosen is not None:
            self._chosen = state["trace"]["chosen"].tolist()
