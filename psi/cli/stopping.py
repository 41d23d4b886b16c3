"""A clean stop: SIGTERM and SIGINT end what goes on as an error of ours.

So the other side of a session hears of it, files in the making are removed, and the line says what
was interrupted. A second signal ends the program at once.
"""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

from psi.errors import StoppedError

__all__ = ["stoppable"]

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """Raise `StoppedError` in the block when this process is told to stop."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only there signals are heard
        return

    def stop(number: int, frame: FrameType | None) -> None:
        for each in heard:
            signal.signal(each, signal.SIG_DFL)
        raise StoppedError(f"stopped by {signal.Signals(number).name}", status=128 + number)

    # One that was ignored from the start, as by nohup, stays so.
    heard = {each: old for each in _SIGNALS if (old := signal.getsignal(each)) != signal.SIG_IGN}
    for each in heard:
        signal.signal(each, stop)
    try:
        yield
    finally:
        for each, old in heard.items():
            signal.signal(each, old)
