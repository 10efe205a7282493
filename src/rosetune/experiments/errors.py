"""Errors of other libraries that a user can act on, in one line."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError

from rosetune.runs.values import RunError

__all__ = ["FolderError", "HeldError", "disk_is_full", "first_line", "reworded"]

_NETWORK = ("httpx", "httpx2")  # huggingface_hub's clients, whose errors are no OSError
_FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))
# What torch.save's writer and safetensors say, which raise errors of their own.
_FULL_SIGNS = ("PytorchStreamWriter failed", "unexpected pos ", "No space left on device")


class FolderError(RunError):
    """A folder that cannot be written to now: nothing is wrong with the run, which goes on once this is mended."""


class HeldError(FolderError):
    """A folder that another process holds."""


def disk_is_full(error: BaseException | None) -> bool:
    """Whether an error, or one that it comes from, is that of a write to a full disk (or above a quota)."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _FULL:
            return True
        if any(sign in str(error) for sign in _FULL_SIGNS):
            return True
        error = error.__cause__ or error.__context__
    return False


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
