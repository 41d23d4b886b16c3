"""Three and more companies over gRPC with mutual TLS: a link for each pair, rounds in step.

Who comes first on the roster listens, the other connects, so that each pair has one connection,
on which each end knows the other's certificate. All keep their result back until each of the
others has said that it is done.
"""

import contextlib
import time
from collections.abc import Callable, Mapping
from functools import partial

from psi.errors import PSIError
from psi.network.certificates import Identity, fingerprint
from psi.network.links import Link
from psi.network.roster import Roster
from psi.network.transport import Guests, dialled, listening
from psi.protocols.kmprt import Leader, Member
from psi.protocols.party import Progress

__all__ = ["converse", "meet"]


def meet(
    party: Leader | Member,
    *,
    terms: str,
    roster: Roster,
    identity: Identity,
    listen: str | None = None,
    wait_seconds: float = 600,
    timeout_seconds: float = 3600,
    on_listening: Callable[[int], None] | None = None,
    progress: Progress | None = None,
) -> dict[int, Link]:
    """Connect to all other parties and carry one session through.

    Args:
        party: This side of the session, with its number on the roster.
        terms: What must be agreed before anybody speaks.
        roster: Everybody.
        identity: This side's key and certificate.
        listen: HOST:PORT to listen on; the roster's port on all interfaces without it.
        wait_seconds: How long to wait until all are connected.
        timeout_seconds: How long the session may take then.
        on_listening: Called with the port.
        progress: Called with a stage, how much is done, and of how much.

    Returns:
        The closed links by party, with the bytes sent and received.

    Raises:
        ConfigError: The address cannot be listened on, or the identity is not on the roster.
        TransportError: A party did not come, is gone, or is too slow.
        ProtocolError: A party sent what is not acceptable.
    """
    number, give_up = roster.number_of(identity.certificate), time.monotonic() + wait_seconds
    links = {
        other: Link(wait_seconds + timeout_seconds, progress, name=entry.name)
        for other, entry in enumerate(roster.parties)
        if other != number
    }
    above, below = roster.parties[:number], roster.parties[number + 1 :]
    guests = Guests(
        terms,
        {fingerprint(one.certificate): links[number + 1 + at] for at, one in enumerate(below)},
    )
    with contextlib.ExitStack() as connections:
        if below:
            # All interfaces: the address that others know may be a router's.
            address = listen or f"0.0.0.0:{roster.parties[number].address.rpartition(':')[2]}"
            certificates = [one.certificate for one in below]
            connections.enter_context(
                listening(guests, address, identity, certificates, on_listening)
            )
        for other, entry in enumerate(above):
            left = max(give_up - time.monotonic(), 0)
            dial = partial(dialled, links[other], terms, entry.address, identity)
            connections.enter_context(dial(entry.certificate, left))
        guests.await_all(wait_seconds, max(give_up - time.monotonic(), 0))
        for link in links.values():
            link.limit(timeout_seconds)
        converse(party, links)
    return links


def converse(party: Leader | Member, links: Mapping[int, Link]) -> None:
    """Carry a session through; returns when all parties are done.

    Raises:
        ProtocolError: A party sent what is not acceptable; all are told so.
        TransportError: A party is gone, too slow, or refused to go on; all are told so.
    """
    try:
        sending = party.start()
        while True:
            for other, message in sending.items():
                links[other].send(message)
            if party.done:
                break
            arrived = {
                other: links[other].receive(party.longest_message(other)) for other in party.expects
            }
            sending = party.receive(arrived)
        for link in links.values():
            link.say_done()
        for link in links.values():
            link.await_done()
            link.close()
    except PSIError as error:
        for link in links.values():
            link.refuse(error)
        raise
