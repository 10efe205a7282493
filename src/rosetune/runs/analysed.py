"""What analyses leave in a run's folder: arrays, and beside them a description of what they are of."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from rosetune._files import replacing
from rosetune.runs.values import RunError

__all__ = ["Analysis", "analysed_steps", "analysis_file", "find_analyses"]


@dataclass(frozen=True)
class Analysis:
    """The file of one analysis of one model.

    Attributes:
        path: of the file.
        about: its ``kind``, the settings that decided the result, and what else there is to know of it.
        arrays: by name; see the analysis.
    """

    path: Path
    about: dict[str, Any]
    arrays: dict[str, np.ndarray]

    def write(self) -> None:
        """As a compressed ``.npz``, whole or not at all."""
        text = np.array(json.dumps(self.about, sort_keys=True))
        with replacing(self.path) as partial, open(partial, "wb") as file:
            np.savez_compressed(file, about=text, **self.arrays)  # type: ignore[arg-type]

    @classmethod
    def read(cls, path: Path) -> "Analysis":
        """What :meth:`write` wrote.

        Raises:
            RunError: the file is damaged.
        """
        try:
            with np.load(path) as file:
                arrays = {name: file[name] for name in file.files}
            about = json.loads(str(arrays.pop("about")))
            return cls(path, about, arrays)
        except (OSError, EOFError, KeyError, ValueError, BadZipFile) as error:
            raise RunError(f"{path} is damaged ({error}): remove it and analyse again") from error


def analysis_file(folder: Path, kind: str, settings: Mapping[str, Any]) -> Path:
    """Where an analysis with these settings is kept: another setting is another file."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:8]
    step = "" if settings.get("step") is None else f"-step-{settings['step']}"
    return folder / "analysis" / f"{kind}{step}-{digest}.npz"


def find_analyses(folder: Path, kind: str) -> list[Analysis]:
    """All analyses of a kind that a run's folder holds.

    Raises:
        RunError: a file is damaged.
    """
    found = [Analysis.read(path) for path in sorted((folder / "analysis").glob(f"{kind}-*.npz"))]
    return [analysis for analysis in found if analysis.about.get("kind") == kind]


def analysed_steps(folder: Path, kind: str = "*") -> list[int]:
    """Steps of a run of which its folder holds an analysis (of a kind), whether or not their checkpoints are kept."""
    found = (re.search(r"-step-(\d+)-[0-9a-f]+$", path.stem) for path in (folder / "analysis").glob(f"{kind}-*.npz"))
    return sorted({int(match[1]) for match in found if match})
