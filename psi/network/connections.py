"""Two companies: one listens, the other connects, and they hold one conversation or several.

Which of them is the protocol's Receiver follows from who gets the result, not from who listens. A
conversation ends when each side has heard from the other that it is done: if a connection breaks at
any message, no side keeps half a result.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from psi.defaults import CONNECT_SECONDS, SESSION_SECONDS, WAIT_SECONDS
from psi.errors import StateError
from psi.network.certificates import TLSIdentity, fingerprint, one_certificate
from psi.network.links import Link, agree, converse, told
from psi.network.terms import Terms
from psi.network.transport import Guests, dialled, listening
from psi.protocols.conversation import PEER, AnyConversation, Progress

__all__ = ["Connection", "Traffic", "connect", "join", "listen", "serve"]


@dataclass(frozen=True)
class Traffic:
    """The bytes of a conversation, to and from all other sides.

    Attributes:
        bytes_sent: The length of all messages that this side sent.
        bytes_received: The length of those it got.
    """

    bytes_sent: int
    bytes_received: int


class Connection:
    """The other sides, for one conversation after another; `listen` and `connect` make one."""

    def __init__(self, links: Mapping[int, Link], meet: Callable[[Terms], None]) -> None:
        """Take links, which the first conversation opens.

        Args:
            links: The link to each other party by its number.
            meet: Connects the links to all who come with these terms.
        """
        self._links = dict(links)
        self._meet = meet
        self._met = self._over = False

    def converse(
        self,
        conversation: AnyConversation,
        terms: Terms,
        *,
        timeout_seconds: float = SESSION_SECONDS,
        on_begun: Callable[[], None] = lambda: None,
        on_result: Callable[[], None] = lambda: None,
    ) -> Traffic:
        """Hold a conversation; the first one begins as soon as the other sides are here.

        Args:
            conversation: This side of it.
            terms: What must be agreed before anybody speaks.
            timeout_seconds: How long it may take, counted from when the other sides are here; for
                a later conversation from now.
            on_begun: Called when all are here and agree on the terms, before anybody speaks.
            on_result: Called when this side has all it needs, before the others hear of it; an
                error of either ends the conversation at all sides.

        Returns:
            What was sent and received in this conversation.

        Raises:
            TransportError: Another side did not come, is gone, or is too slow.
            ProtocolError: Another side sent what is not acceptable, such as other terms.
            StateError: The connection is closed, or an earlier conversation failed.
        """
        if self._over:
            raise StateError("this connection has ended: open another one")
        self._over = True  # unless all goes well
        if not self._met:
            self._meet(terms)
        for link in self._links.values():
            link.begin(timeout_seconds)
        if self._met:
            agree(terms, self._links)
        with told(self._links):
            on_begun()
        converse(conversation, self._links, on_result)
        self._met, self._over = True, False
        links = self._links.values()
        return Traffic(
            sum(link.bytes_sent for link in links), sum(link.bytes_received for link in links)
        )

    def close(self) -> None:
        """Send nothing more; earlier conversations are not undone."""
        self._over = True
        for link in self._links.values():
            link.close()


@contextlib.contextmanager
def listen(
    *,
    address: str,
    identity: TLSIdentity,
    peer_certificate: bytes,
    wait_seconds: float = WAIT_SECONDS,
    on_listening: Callable[[int], None] | None = None,
    on_turned_away: Callable[[str], None] | None = None,
    on_dropped: Callable[[str], None] | None = None,
    progress: Progress | None = None,
) -> Iterator[Connection]:
    """Yield a connection that listens for the one trusted peer while the block runs.

    Args:
        address: HOST:PORT to listen on; port 0 takes a free one.
        identity: This side's key and certificate.
        peer_certificate: The only certificate that may connect, PEM.
        wait_seconds: How long to wait for the peer when the first conversation begins.
        on_listening: Called with the port.
        on_turned_away: Called with what was wrong if the peer comes with other terms. This ends
            nothing: it may come again with the right ones.
        on_dropped: Called with the reason when a stranger is dropped.
        progress: Called with a stage, how much is done, and of how much.

    Raises:
        ConfigError: The address cannot be listened on, or this is not exactly one certificate.
    """
    ends = _ends(identity, peer_certificate)
    link = Link(wait_seconds, progress, ends=ends)
    guests = Guests({ends[1]: link}, on_turned_away)

    def meet(terms: Terms) -> None:
        guests.expect(terms)
        guests.await_all(wait_seconds)

    with listening(guests, address, identity, [peer_certificate], on_listening, on_dropped):
        connection = Connection({PEER: link}, meet)
        yield connection
        connection.close()


@contextlib.contextmanager
def connect(
    *,
    address: str,
    identity: TLSIdentity,
    peer_certificate: bytes,
    wait_seconds: float = CONNECT_SECONDS,
    progress: Progress | None = None,
) -> Iterator[Connection]:
    """Yield a connection to a side that listens; the first conversation connects it.

    Args:
        address: HOST:PORT of that side.
        identity: This side's key and certificate.
        peer_certificate: The only certificate that is trusted, PEM.
        wait_seconds: How long to try to connect.
        progress: Called with a stage, how much is done, and of how much.

    Raises:
        ConfigError: This is not exactly one certificate.
    """
    ends = _ends(identity, peer_certificate)
    link = Link(wait_seconds, progress, ends=ends)
    with contextlib.ExitStack() as stack:

        def meet(terms: Terms) -> None:
            dialling = dialled(link, terms, address, identity, peer_certificate, wait_seconds)
            stack.enter_context(dialling)

        connection = Connection({PEER: link}, meet)
        yield connection
        connection.close()


def serve(
    conversation: AnyConversation,
    *,
    terms: Terms,
    address: str,
    identity: TLSIdentity,
    peer_certificate: bytes,
    wait_seconds: float = WAIT_SECONDS,
    timeout_seconds: float = SESSION_SECONDS,
    on_listening: Callable[[int], None] | None = None,
    on_turned_away: Callable[[str], None] | None = None,
    on_dropped: Callable[[str], None] | None = None,
    on_begun: Callable[[], None] = lambda: None,
    on_result: Callable[[], None] = lambda: None,
    progress: Progress | None = None,
) -> Traffic:
    """Listen, hold one conversation with the one peer that is trusted, and stop listening.

    Args:
        conversation: This side of it.
        terms: As of `Connection.converse`.
        address: As of `listen`, and so the next ones.
        identity: This side's key and certificate.
        peer_certificate: The only certificate that may connect, PEM.
        wait_seconds: How long to wait for the peer.
        timeout_seconds: How long the conversation may take.
        on_listening: Called with the port.
        on_turned_away: Called with what was wrong if the peer comes with other terms.
        on_dropped: Called with the reason when a stranger is dropped.
        on_begun: As of `Connection.converse`.
        on_result: As of `Connection.converse`.
        progress: Called with a stage, how much is done, and of how much.

    Returns:
        What was sent and received.

    Raises:
        ConfigError: The address cannot be listened on.
        TransportError: The peer did not come, is gone, or is too slow.
        ProtocolError: The peer sent what is not acceptable.
    """
    with listen(
        address=address,
        identity=identity,
        peer_certificate=peer_certificate,
        wait_seconds=wait_seconds,
        on_listening=on_listening,
        on_turned_away=on_turned_away,
        on_dropped=on_dropped,
        progress=progress,
    ) as connection:
        return connection.converse(
            conversation,
            terms,
            timeout_seconds=timeout_seconds,
            on_begun=on_begun,
            on_result=on_result,
        )


def join(
    conversation: AnyConversation,
    *,
    terms: Terms,
    address: str,
    identity: TLSIdentity,
    peer_certificate: bytes,
    wait_seconds: float = CONNECT_SECONDS,
    timeout_seconds: float = SESSION_SECONDS,
    on_begun: Callable[[], None] = lambda: None,
    on_result: Callable[[], None] = lambda: None,
    progress: Progress | None = None,
) -> Traffic:
    """Connect to a side that serves and hold one conversation with it.

    Arguments and errors are those of `serve`; `wait_seconds` is how long to try to connect.

    Returns:
        What was sent and received.
    """
    with connect(
        address=address,
        identity=identity,
        peer_certificate=peer_certificate,
        wait_seconds=wait_seconds,
        progress=progress,
    ) as connection:
        return connection.converse(
            conversation,
            terms,
            timeout_seconds=timeout_seconds,
            on_begun=on_begun,
            on_result=on_result,
        )


def _ends(identity: TLSIdentity, peer_certificate: bytes) -> tuple[str, str]:
    one_certificate(peer_certificate, "the other side's file")
    return fingerprint(identity.certificate), fingerprint(peer_certificate)
