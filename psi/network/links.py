"""Conversations with another side: whole messages over a stream of chunks, until a deadline.

Nothing here knows of the network: `outgoing` is what is sent, chunk by chunk, `attach` takes the
iterator of what arrives. A reader thread moves it to a short queue. So a peer that sends too fast
has to wait, and does not fill the memory.
"""

import contextlib
import itertools
import queue
import statistics
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import ModuleType
from typing import Final

import psi.errors
from psi.errors import DeadlineError, DecodeError, PeerRefusedError, PSIError, TransportError
from psi.network.terms import Terms
from psi.protocols.conversation import AnyConversation, Progress
from psi.protocols.messages import HEADER_BYTES, announced_length

__all__ = ["CHUNK_BYTES", "AbandonedError", "Link", "agree", "converse", "known_error", "told"]

CHUNK_BYTES = 1 << 20
_FINE_BYTES, _FINE_UP_TO = 1 << 11, 1 << 14  # parts of short messages tell how fast they arrive
_FEWEST_GAPS, _MOST_MEGABITS = 3, 1000.0
_REFUSAL = b"psi refusal "
_DONE = b"psi done"
_TERMS = b"psi terms "
_END: Final = None


class AbandonedError(Exception):
    """Ends the outgoing stream of a side that gave up; never raised outside the transport."""


class Link:
    """Sends and receives the messages of one conversation after another.

    Attributes:
        megabits: How fast the line is, in 10^6 bits a second, by what arrived last in parts that
            can be told apart; at most 1,000. None: nothing did.
    """

    def __init__(
        self,
        timeout_seconds: float,
        progress: Progress | None = None,
        *,
        name: str = "the other side",
        ends: tuple[str, str] | None = None,
    ) -> None:
        """Start the clock.

        Args:
            timeout_seconds: How long the conversation may take.
            progress: Called with a stage, the bytes done and their number.
            name: What to call the other side.
            ends: The fingerprints of this side's and the other's certificate, where there are two.
        """
        self.begin(timeout_seconds)
        self.name = name
        self.ends = ends
        self._progress = progress or (lambda stage, done, total: None)
        self._outbox: queue.SimpleQueue[bytes | AbandonedError | None] = queue.SimpleQueue()
        self._inbox: queue.Queue[bytes | Exception | None] = queue.Queue(maxsize=4)
        self._arrivals: queue.SimpleQueue[float] = queue.SimpleQueue()  # of what is in the inbox
        self.megabits: float | None = None
        self._stopped = threading.Event()
        self._arrived = 0.0
        self._ended = False

    def begin(self, timeout_seconds: float) -> None:
        """Start the clock and the counts again for another conversation."""
        self._deadline = time.monotonic() + timeout_seconds
        self.bytes_sent = 0
        self.bytes_received = 0

    def attach(self, incoming: Iterable[bytes]) -> None:
        """Begin to read what the other side sends."""
        threading.Thread(target=self._read, args=(incoming,), daemon=True).start()

    def outgoing(self) -> Iterator[bytes]:
        """Yield what is to be sent, in chunks, until the link is closed.

        Raises:
            AbandonedError: This side gave up; the stream must not look complete.
        """
        while (message := self._outbox.get()) is not _END:
            if isinstance(message, AbandonedError):
                raise message
            step = _FINE_BYTES if len(message) <= _FINE_UP_TO else CHUNK_BYTES
            for start in range(0, len(message), step):
                yield message[start : start + step]
                self._progress("sending", min(start + step, len(message)), len(message))

    def send(self, message: bytes) -> None:
        """Queue a message."""
        self.bytes_sent += len(message)
        self._outbox.put(message)

    def receive(self, longest: int) -> bytes:
        """Return the next whole message, and set `megabits` if it came in enough small parts.

        Args:
            longest: Its greatest length; a longer one is refused before it arrives.

        Raises:
            DecodeError: It is too long, or its chunks are not.
            TransportError: The other side is gone, too slow, or refused to go on.
        """
        message, length = bytearray(), HEADER_BYTES
        measured, times = False, list[float]()
        while len(message) < length or not measured:
            part = self._next()
            message += part
            if len(part) == _FINE_BYTES:
                times.append(self._arrived)
            if not measured and len(message) >= HEADER_BYTES:
                length, measured = announced_length(message), True
                if length > longest:
                    raise DecodeError(f"a message of {length} bytes where {longest} are the most")
            if measured:
                self._progress("receiving", len(message), length)
        if len(message) != length:
            raise DecodeError(f"{self.name} sent more than it announced")
        self.bytes_received += length
        gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
        if length <= _FINE_UP_TO and len(gaps) >= _FEWEST_GAPS:
            # Of most parts: one that had to wait for a busy processor does not count.
            least = 8e-6 * _FINE_BYTES / _MOST_MEGABITS
            self.megabits = 8e-6 * _FINE_BYTES / max(statistics.median(gaps), least)
        return bytes(message)

    def send_terms(self, terms: Terms) -> None:
        """Tell the other side the terms of this one."""
        self._outbox.put(_TERMS + terms.encode())

    def check_terms(self, terms: Terms) -> None:
        """Wait for the other side's terms.

        Raises:
            TransportError: It is gone, too slow, or refuses.
            ProtocolError: They differ from this side's.
            DecodeError: It sent something else.
        """
        got = self._next()
        if not got.startswith(_TERMS):
            raise DecodeError(f"{self.name} sent something else than its terms")
        terms.check(got.removeprefix(_TERMS), self.name)

    def say_done(self) -> None:
        """Tell the other side that this one has all it needs: the end of a stream does not."""
        self._outbox.put(_DONE)

    def await_done(self) -> None:
        """Wait until the other side says that it is done.

        Raises:
            TransportError: It is gone or too slow, or refuses the last message.
            DecodeError: It sends something else.
        """
        if self._next() != _DONE:
            raise DecodeError(f"{self.name} goes on after the last message")

    def refuse(self, error: PSIError) -> None:
        """Tell the other side the name of the error by which this side stops, and nothing else."""
        self._outbox.put(_REFUSAL + type(error).__name__.encode())
        self.close()

    def close(self) -> None:
        """Send nothing more."""
        self._outbox.put(_END)

    def drain(self, seconds: float) -> None:
        """Let what was sent arrive: ignore what comes meanwhile, then read no more."""
        give_up = time.monotonic() + seconds
        with contextlib.suppress(queue.Empty):
            while not self._ended:
                self._take(give_up)
        self._stopped.set()

    def abandon(self) -> None:
        """Break the outgoing stream, unless it was closed."""
        self._outbox.put(AbandonedError())

    def _next(self) -> bytes:
        try:
            got = self._take(self._deadline)
        except queue.Empty:
            raise DeadlineError(
                f"the session took longer than its deadline: {self.name} did not answer"
            ) from None
        if not isinstance(got, bytes):
            raise TransportError(f"{self.name} went away in the middle of the session") from got
        if got.startswith(_REFUSAL):
            name = got.removeprefix(_REFUSAL).decode("ascii", "replace")
            said = known_error(name, psi.errors, PSIError)
            raise PeerRefusedError(f"{self.name} stopped: {said}", said)
        if got == b"":
            raise DecodeError(f"{self.name} sent an empty chunk")
        return got

    def _take(self, deadline: float) -> bytes | Exception | None:
        left = deadline - time.monotonic()
        if left <= 0:  # also for one that never stops sending
            raise queue.Empty
        got = self._inbox.get(timeout=left)
        self._arrived = self._arrivals.get()
        self._ended = not isinstance(got, bytes)
        return got

    def _read(self, incoming: Iterable[bytes]) -> None:
        try:
            for chunk in incoming:
                self._push(chunk)
                if self._stopped.is_set():
                    return
            self._push(_END)
        except Exception as error:  # raised again by `receive`
            self._push(error)

    def _push(self, item: bytes | Exception | None) -> None:
        self._arrivals.put(time.monotonic())
        while not self._stopped.is_set():
            with contextlib.suppress(queue.Full):
                self._inbox.put(item, timeout=1)
                return


def agree(terms: Terms, links: Mapping[int, Link]) -> None:
    """Compare terms with all other sides, over links that had a conversation before.

    Raises:
        ProtocolError: Another side's terms differ; all are told so.
        TransportError: Another side is gone, too slow, or refuses; all are told so.
    """
    with told(links):
        for link in links.values():
            link.send_terms(terms)
        for link in links.values():
            link.check_terms(terms)


def converse(
    conversation: AnyConversation,
    links: Mapping[int, Link],
    on_result: Callable[[], None] = lambda: None,
) -> None:
    """Carry a conversation through until all sides have said that they are done.

    Args:
        conversation: This side's, of two or of many.
        links: The link to each other party by its number; between two the other side is 0.
        on_result: Called when this side has all it needs, before the others hear of it.

    Raises:
        ProtocolError: Another side sent what is not acceptable; all are told so.
        TransportError: Another side is gone, too slow, or refused to go on; all are told so.
    """
    with told(links):
        for peer, link in links.items():
            if link.ends is not None:
                conversation.between(peer, *link.ends)
        sending = conversation.first_round()
        while True:
            for peer, message in sending.items():
                links[peer].send(message)
            if conversation.done:
                break
            conversation.idle()
            arrived = {
                peer: links[peer].receive(conversation.longest_from(peer))
                for peer in conversation.awaited
            }
            for peer in arrived:
                if (megabits := links[peer].megabits) is not None:
                    conversation.take_speed(peer, megabits)
            sending = conversation.next_round(arrived)
        on_result()
        # A side that is done has sent its last message, but cannot know whether it arrived.
        for link in links.values():
            link.say_done()
        for link in links.values():
            link.await_done()


@contextlib.contextmanager
def told(links: Mapping[int, Link]) -> Iterator[None]:
    """Tell the other sides the error by which the block stops, if one of ours does."""
    try:
        yield
    except PSIError as error:
        for link in links.values():
            link.refuse(error)
        raise


def known_error(name: str, errors: ModuleType, base: type[Exception]) -> str:
    """Return the name of an error, if it is one of ours: a hostile peer cannot show other words.

    Args:
        name: What the peer says.
        errors: The module that holds ours.
        base: What they all are.
    """
    found = getattr(errors, name, None) if name.isidentifier() else None
    return name if isinstance(found, type) and issubclass(found, base) else "no known error"
