"""What the site generates: help texts from the parsers, and docstrings with their roles as plain code."""

import contextlib
import io
import os
import re
from typing import Any

import griffe

_PRINTED = re.compile(r"^`(rosetune [^`]*)`.* <!-- prints -->$", re.MULTILINE)
_EXAMPLE = re.compile(r"^( *)Example:\n((?:\1    .*\n|\n)+)", re.MULTILINE)
_ROLE = re.compile(r":(?:class|func|meth|mod|data|attr|exc):`~?([^`]+)`")


def on_page_markdown(markdown: str, **kwargs: Any) -> str:
    """A line that begins with a command and ends in ``<!-- prints -->`` becomes what the command prints.

    Where a page is read as it is, on GitHub for example, the line names the command.
    """
    return _PRINTED.sub(lambda match: f"```text\n$ {match[1]}\n{printed(match[1])}\n```", markdown)


def printed(command: str) -> str:
    """The output of a command line of rosetune, 80 columns wide."""
    from rosetune.cli import main

    out = io.StringIO()
    os.environ["COLUMNS"] = "80"
    with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
        main(command.split()[1:])
    if not out.getvalue():
        raise ValueError(f"`{command}` prints nothing")
    return out.getvalue().strip()


class Docstrings(griffe.Extension):
    """A role such as ``:class:`~rosetune.optim.SelectiveAdamW``` becomes a name in code, an example a block."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Rewrite one docstring."""
        if obj.docstring:
            text = _ROLE.sub(lambda match: f"`{match[1].rsplit('.', 1)[-1]}`", obj.docstring.value)
            obj.docstring.value = _EXAMPLE.sub(_fenced, text + "\n").rstrip()


def _fenced(example: re.Match[str]) -> str:
    indent, code = example[1], example[2].strip("\n")
    return f"{indent}Example:\n{indent}    ```python\n{code}\n{indent}    ```\n\n"
