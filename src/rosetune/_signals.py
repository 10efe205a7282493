"""SIGTERM, with which batch systems preempt, as an exception like that of Ctrl-C."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["Terminated", "ignore_further", "raised_sigterm"]


class Terminated(KeyboardInterrupt):
    """This process was asked to end: what it holds is given back on the way, as after Ctrl-C."""


@contextmanager
def raised_sigterm() -> Iterator[None]:
    """SIGTERM raises :class:`Terminated` within, in the main thread of the process that enters this.

    Its forks end by the signal as ever. So do the processes of a launcher, which may wait for each other and would
    never come to raise anything, and programs that have a handler of their own keep it.
    """
    alone = int(os.environ.get("WORLD_SIZE", "1")) == 1
    main = threading.current_thread() is threading.main_thread()
    if not main or not alone or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    own = os.getpid()

    def terminate(number: int, frame: FrameType | None) -> None:
        if os.getpid() == own:
            raise Terminated
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGTERM) is terminate:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def ignore_further() -> None:
    """The process is about to end with exit code 143: a second SIGTERM must not cut its last words off."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
