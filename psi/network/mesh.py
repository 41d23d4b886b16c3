"""Three and more companies over gRPC with mutual TLS: a link for each pair, rounds in step.

Of each pair, the party that is first on the roster listens and the other connects. So each pair has
one connection, on which each end knows the other's certificate. All keep their result back until
each of the others has said that it is done.
"""

import contextlib
import time
from collections.abc import Callable, Iterator

from psi.defaults import SESSION_SECONDS, WAIT_SECONDS
from psi.network.certificates import TLSIdentity, fingerprint
from psi.network.connections import Connection, Traffic
from psi.network.links import Link
from psi.network.roster import Roster
from psi.network.terms import Terms
from psi.network.transport import Guests, dialled, listening
from psi.protocols.conversation import AnyConversation, Progress

__all__ = ["gather", "meet"]


@contextlib.contextmanager
def gather(
    *,
    roster: Roster,
    identity: TLSIdentity,
    listen: str | None = None,
    wait_seconds: float = WAIT_SECONDS,
    on_listening: Callable[[int], None] | None = None,
    on_turned_away: Callable[[str], None] | None = None,
    on_dropped: Callable[[str], None] | None = None,
    progress: Progress | None = None,
) -> Iterator[Connection]:
    """Yield a connection to all: this side listens for parties below, and connects to those above.

    Args:
        roster: Everybody; a party's number is its place.
        identity: This side's key and certificate.
        listen: HOST:PORT to listen on; the roster's port on all interfaces without it.
        wait_seconds: How long to wait until all are connected when the first conversation begins.
        on_listening: Called with the port.
        on_turned_away: Called with what was wrong if a party comes with other terms.
        on_dropped: Called with the reason when a stranger is dropped.
        progress: Called with a stage, how much is done, and of how much.

    Raises:
        ConfigError: The address cannot be listened on, or the identity is not on the roster.
    """
    number = roster.number_of(identity.certificate)
    links = {
        other: Link(
            wait_seconds,
            progress,
            name=entry.name,
            ends=(fingerprint(identity.certificate), fingerprint(entry.certificate)),
        )
        for other, entry in enumerate(roster.parties)
        if other != number
    }
    above, below = roster.parties[:number], roster.parties[number + 1 :]
    guests = Guests(
        {fingerprint(one.certificate): links[number + 1 + at] for at, one in enumerate(below)},
        on_turned_away,
    )
    with contextlib.ExitStack() as stack:

        def meet_all(terms: Terms) -> None:
            give_up = time.monotonic() + wait_seconds
            guests.expect(terms)
            for other, entry in enumerate(above):
                left = max(give_up - time.monotonic(), 0)
                stack.enter_context(
                    dialled(links[other], terms, entry.address, identity, entry.certificate, left)
                )
            guests.await_all(wait_seconds, max(give_up - time.monotonic(), 0))

        if below:
            # On all interfaces: the address that others know may be a router's.
            address = listen or f"0.0.0.0:{roster.parties[number].address.rpartition(':')[2]}"
            certificates = [one.certificate for one in below]
            stack.enter_context(
                listening(guests, address, identity, certificates, on_listening, on_dropped)
            )
        connection = Connection(links, meet_all)
        yield connection
        connection.close()


def meet(
    conversation: AnyConversation,
    *,
    terms: Terms,
    roster: Roster,
    identity: TLSIdentity,
    listen: str | None = None,
    wait_seconds: float = WAIT_SECONDS,
    timeout_seconds: float = SESSION_SECONDS,
    on_listening: Callable[[int], None] | None = None,
    on_turned_away: Callable[[str], None] | None = None,
    on_dropped: Callable[[str], None] | None = None,
    on_begun: Callable[[], None] = lambda: None,
    on_result: Callable[[], None] = lambda: None,
    progress: Progress | None = None,
) -> Traffic:
    """Connect to all other parties and carry one conversation through.

    Args:
        conversation: This side of it, with its number on the roster.
        terms: As of `Connection.converse`.
        roster: As of `gather`, and so the next ones.
        identity: This side's key and certificate.
        listen: HOST:PORT to listen on; the roster's port on all interfaces without it.
        wait_seconds: How long to wait until all are connected.
        timeout_seconds: How long the conversation may take then.
        on_listening: Called with the port.
        on_turned_away: Called with what was wrong if a party comes with other terms.
        on_dropped: Called with the reason when a stranger is dropped.
        on_begun: As of `Connection.converse`.
        on_result: As of `Connection.converse`.
        progress: Called with a stage, how much is done, and of how much.

    Returns:
        What was sent and received, to and from all.

    Raises:
        ConfigError: The address cannot be listened on, or the identity is not on the roster.
        TransportError: A party did not come, is gone, or is too slow.
        ProtocolError: A party sent what is not acceptable.
    """
    with gather(
        roster=roster,
        identity=identity,
        listen=listen,
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
