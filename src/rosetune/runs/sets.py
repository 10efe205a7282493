"""What the name of an evaluation set means."""

import re
from collections.abc import Container
from dataclasses import dataclass
from typing import Any

from rosetune.robustness.noise_families import NOISES

__all__ = ["KINDS", "SetName"]

# What a model can be evaluated on, in the order in which it is done.
KINDS = ("clean", "noise", "noise_curve", "advglue")
_ORDER = (*KINDS, "file", "attack")
_ATTACK, _FILE, _MISMATCHED, _ORIGINALS = "attack:", "file_", "_mismatched", "advglue_originals"
_TYPOS, _CELL = re.compile(r"typos_(\d+)"), re.compile(r"(\w+)@(\d+(?:\.\d+)?(?:e-\d+)?)")
_TITLES = {
    "advglue": "AdvGLUE",
    "advglue_mismatched": "AdvGLUE, mismatched",
    "advglue_originals": "AdvGLUE's originals",
    "advglue_originals_mismatched": "its originals, mism.",
}


@dataclass(frozen=True)
class SetName:
    """An evaluation set, or an attack, by its name.

        clean, clean_mismatched                         the reported split; MNLI has two
        typos_1, typos_2                                kind "noise": the same texts with typing errors
        ocr@0.25                                        kind "noise_curve": one noise at one strength
        advglue, advglue_mismatched, advglue_originals  AdvGLUE's items, and their unperturbed originals
        file_NAME                                       kind "file": another labelled file of the user's
        attack:NAME                                     kind "attack": the rows that an attack was made on

    Attributes:
        name: the whole.
        kind: as above.
        noise, strength: of one point of the noise curve ("ocr", 0.25), or of typing errors ("typos", 1); else None.
        mismatched: of MNLI's second development set.
        is_original: the unperturbed originals of AdvGLUE's items.
    """

    name: str
    kind: str
    noise: str | None = None
    strength: float | None = None
    mismatched: bool = False
    is_original: bool = False

    @classmethod
    def parse(cls, name: str) -> "SetName":
        """The meaning of a name; an unknown one is a kind of its own."""
        if name.startswith(_ATTACK):
            return cls(name, "attack")
        if name.startswith(_FILE):
            return cls(name, "file")
        if typos := _TYPOS.fullmatch(name):
            return cls(name, "noise", "typos", float(typos[1]))
        if cell := _CELL.fullmatch(name):
            return cls(name, "noise_curve", cell[1], float(cell[2]))
        return cls(
            name, name.split("_")[0], mismatched=name.endswith(_MISMATCHED), is_original=name.startswith(_ORIGINALS)
        )

    @classmethod
    def of_attack(cls, name: str) -> "SetName":
        """The set of the rows that an attack, by the name of its file, was made on."""
        return cls.parse(f"{_ATTACK}{name}")

    @classmethod
    def of_file(cls, name: str) -> "SetName":
        """The set of a labelled file of the user's."""
        return cls.parse(f"{_FILE}{name}")

    @property
    def originals(self) -> str:
        """The name of the set that holds an AdvGLUE set's originals."""
        return self.name.replace("advglue", _ORIGINALS)

    @property
    def attack(self) -> str | None:
        """The name of the attack's file; None for what is no attack."""
        return self.name.removeprefix(_ATTACK) if self.kind == "attack" else None

    @property
    def on_curve(self) -> bool:
        """Whether it is one cell of the noise curve, which tables show by itself."""
        return self.kind == "noise_curve"

    @property
    def robust(self) -> bool:
        """Whether robustness is claimed on it: not clean sets, AdvGLUE's originals, the noise curve, a user's file."""
        return self.kind not in ("clean", "noise_curve", "file") and not self.is_original

    @property
    def perturbed(self) -> bool:
        """Whether its texts are made to mislead a model: what is robust, and the noise curve."""
        return self.robust or self.on_curve

    @property
    def sort_key(self) -> tuple[Any, ...]:
        """Its place in a table: kinds in their order, and in each of them the order in which it is evaluated."""
        kind = _ORDER.index(self.kind) if self.kind in _ORDER else len(_ORDER)
        noise = list(NOISES).index(self.noise) if self.noise in NOISES else len(NOISES)
        return kind, noise, self.noise or "", self.strength or 0.0, self.mismatched, self.is_original, self.name

    def clean(self, there: Container[str] = ("clean_mismatched",)) -> str:
        """The clean set that it belongs to: MNLI has two, where both are ``there``."""
        return "clean_mismatched" if self.mismatched and "clean_mismatched" in there else "clean"

    @property
    def title(self) -> str:
        """As a person calls it."""
        if self.kind == "noise" and self.strength is not None:
            return f"typing errors {self.strength:g}"
        if self.kind == "noise_curve":
            return f"{str(self.noise).replace('_', ' ')} {self.strength:g}"
        if self.attack is not None:
            return f"under {self.attack}"
        if self.kind == "file":
            return self.name.removeprefix(_FILE)
        if self.kind == "clean":
            return "clean, mismatched" if self.mismatched else "clean"
        return _TITLES.get(self.name, self.name.replace("_", " "))
