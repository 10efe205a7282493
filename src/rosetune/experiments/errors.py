"""Errors of other libraries that a user can act on, in one line."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError

from rosetune.runs.values import RunError

__all__ = ["first_line", "reworded"]

_NETWORK = ("httpx", "httpx2")  # huggingface_hub's clients, whose errors are no OSError


@contextmanager
def reworded(*kinds: type[Exception]) -> Iterator[None]:
    """Turns a missing package, and errors of these kinds, into a :class:`RunError`.

    So it does with a hub that cannot be reached. It stands where nothing but the user's values or machine can be the
    cause: a fault of ours must keep its traceback.
    ``ValueError`` and ``OSError``, which the command line shows in one line, pass.
    """
    try:
        yield
    except (ValueError, OSError):
        raise
    except Exception as error:
        if isinstance(error, (ImportError, *kinds)):
            raise RunError(first_line(error)) from error
        if type(error).__module__.partition(".")[0] in _NETWORK:
            raise RunError(
                f"the hub cannot be reached ({first_line(error)}): try again later, or leave out --push_to_hub"
            ) from error
        raise


def first_line(error: BaseException) -> str:
    """What an error says, without the hints that follow."""
    text = str(error).strip()
    if isinstance(error, PackageNotFoundError):
        text = text.removeprefix("No package metadata was found for ")  # transformers puts a sentence for the name
    lines = [line.strip() for line in text.split("\n")] or [""]
    first = " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]
    return first.rstrip(".:") or type(error).__name__
