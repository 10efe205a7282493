"""The record of which tensors an update mask let through, step by step."""

import os
from dataclasses import dataclass
from zipfile import BadZipFile

import numpy as np

from rosetune._files import replacing


@dataclass(frozen=True)
class MaskTrace:
    """The multipliers of a run.

    Attributes:
        names: the n masked tensors, in the optimizer's order.
        sizes: shape (n,), scalars of each tensor.
        multipliers: shape (steps, n), in [0, 1].
        chosen: shape (steps, 2), the shares that ROSE chose by itself for its first- and second-order mask; NaN where
            it did not. None where it chose none.
    """

    names: tuple[str, ...]
    sizes: np.ndarray
    multipliers: np.ndarray
    chosen: np.ndarray | None = None

    def share_kept(self) -> np.ndarray:
        """Shape (n,): each tensor's mean multiplier over the steps."""
        return self.multipliers.mean(axis=0)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a compressed ``.npz``, whole or not at all."""
        with replacing(path) as partial, open(partial, "wb") as file:
            arrays = {"sizes": self.sizes, "multipliers": self.multipliers}
            arrays |= {} if self.chosen is None else {"chosen": self.chosen}
            np.savez_compressed(file, names=np.array(self.names), **arrays)  # type: ignore[arg-type]

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "MaskTrace":
        """Read what :meth:`save` wrote, from the file or from the folder of the run that holds it.

        Raises:
            ValueError: the file is missing, is no trace, or holds no step.
        """
        path = os.path.join(path, "mask_trace.npz") if os.path.isdir(path) else path
        try:
            with open(path, "rb") as opened, np.load(opened) as file:
                chosen = file.get("chosen")
                trace = cls(tuple(file["names"].tolist()), file["sizes"], file["multipliers"], chosen)
        except (OSError, EOFError, KeyError, TypeError, ValueError, BadZipFile) as error:
            raise ValueError(
                f"{os.fspath(path)} is not a mask trace ({error}): a run of `rose` with update_mask_kwargs "
                "trace=true writes one"
            ) from error
        if not len(trace.multipliers):
            raise ValueError(f"the mask trace {os.fspath(path)} holds no step")
        return trace
