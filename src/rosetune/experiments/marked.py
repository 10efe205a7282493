"""A YAML file whose values know their lines."""

from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from rosetune.runs.values import RunError, yaml_errors

__all__ = ["Marked"]

Place = tuple[str | int, ...]


class Marked:
    """A mapping read from YAML, with the line of everything in it.

    Args:
        text: the YAML.
        source: what it is called in messages, such as the file's path.

    Attributes:
        value: the mapping; its keys, and those of mappings in it, are text.

    Raises:
        RunError: no YAML, no mapping, or a key that stands twice in a mapping.
    """

    def __init__(self, text: str, source: str) -> None:
        import yaml

        self.source, self._lines = source, dict[Place, int]()
        with yaml_errors(source):
            loader = yaml.SafeLoader(text)
            try:
                node = loader.get_single_node()
                if not isinstance(node, yaml.MappingNode):
                    raise RunError(f"{source} must hold a mapping, such as `tasks: [sst2]`")
                self._refuse_twins(node)
                value = loader.construct_document(node)
            finally:
                loader.dispose()
        self._mark(node, ())
        self.value: dict[str, Any] = _texts(value)

    @classmethod
    def read(cls, path: str | Path) -> "Marked":
        """A file.

        Raises:
            RunError: it cannot be read; see the class.
        """
        with yaml_errors(path):
            return cls(Path(path).expanduser().read_text(encoding="utf-8"), str(path))

    def __contains__(self, place: Place) -> bool:
        """Whether something stands at a place, named by the keys that lead to it."""
        return place in self._lines

    def line(self, *place: str | int) -> int:
        """The line of a value, named by the keys that lead to it, or of the nearest one around it."""
        while place and place not in self._lines:
            place = place[:-1]
        return self._lines.get(place, 1)

    def error(self, text: object, *place: str | int) -> RunError:
        """What is wrong with a value, with file and line."""
        return RunError(f"{self.source}, line {self.line(*place)}: {text}")

    def unknown(self, what: str, name: str, known: Iterable[str], *place: str | int) -> RunError:
        """A name that there is not, with the nearest one or all that there are."""
        names = list(dict.fromkeys(known))
        near = get_close_matches(name, names, n=1)
        remedy = f"did you mean {near[0]}?" if near else f"give one of {', '.join(names)}"
        return self.error(f"there is no {what} {name!r}: {remedy}", *place)

    def _refuse_twins(self, node: Any) -> None:
        import yaml

        if isinstance(node, yaml.MappingNode):
            seen: dict[str, int] = {}
            for key, value in node.value:
                if key.value in seen and key.tag != "tag:yaml.org,2002:merge":
                    raise RunError(
                        f"{self.source}, line {key.start_mark.line + 1}: {key.value!r} stands here again, after line "
                        f"{seen[key.value]}: remove one of the two"
                    )
                if isinstance(key.value, str):
                    seen[key.value] = key.start_mark.line + 1
                self._refuse_twins(value)
        elif isinstance(node, yaml.SequenceNode):
            for part in node.value:
                self._refuse_twins(part)

    def _mark(self, node: Any, place: Place) -> None:
        import yaml

        self._lines.setdefault(place, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                self._lines[(*place, str(key.value))] = key.start_mark.line + 1
                self._mark(value, (*place, str(key.value)))
        elif isinstance(node, yaml.SequenceNode):
            for number, part in enumerate(node.value):
                self._mark(part, (*place, number))


def _texts(value: Any) -> Any:
    """Mappings with text for keys: a task may be called 2024."""
    if isinstance(value, dict):
        return {str(key): _texts(part) for key, part in value.items()}
    return [_texts(part) for part in value] if isinstance(value, list) else value
