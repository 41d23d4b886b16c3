"""A side that stays up: one peer after another, each by itself, until it is told to stop."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from psi.cli.events import EventLog
from psi.cli.holding import OwnTableFile, count_to, put, say_cost, write_kept
from psi.cli.shared import (
    ledger_of,
    messages,
    network,
    progress_bar,
    say_listening,
    say_turned_away,
)
from psi.cli.stopping import stoppable
from psi.cli.words import in_words
from psi.errors import ConfigError, PSIError, StoppedError

if TYPE_CHECKING:
    from psi.network import Connection, Terms, TLSIdentity
    from psi.network.turns import Turns
    from psi.protocols.conversation import Progress
    from psi.sessions.keeping import SessionFinding

__all__ = ["Turn", "in_turns", "stay"]

_AGAIN_SECONDS = 5  # between two tries to write a result


class Turn(Protocol):
    """One session of a side that stays."""

    def converse(self, caller: str, name: str, connection: "Connection") -> str:
        """Hold it with a peer; return what became of it, in a few words that name no match."""

    def settle(self, turns: "Turns") -> None:
        """Do what is left when the peer is gone, before the next one comes."""


def in_turns(
    ready: "Callable[[Progress], Turn]",
    *,
    identity: "TLSIdentity",
    peers: Mapping[str, bytes],
    terms: "Terms",
    listen: str,
    log: EventLog,
    progress: "Progress",
    rounds: int | None,
    wait_seconds: float | None,
) -> None:
    """Hold sessions with whoever comes, one after another.

    Args:
        ready: Prepares the next one, before its peer is known.
        identity: This side's key and certificate.
        peers: The certificates of all who may come, by what to call them.
        terms: What must be agreed.
        listen: HOST:PORT to listen on.
        log: Is told what happens.
        progress: Called with a stage, how much is done, and of how much.
        rounds: How many sessions to hold, of which the first that fails ends all; None: without
            end, whatever becomes of one.
        wait_seconds: How long to wait for each peer; None: without end.

    Raises:
        ConfigError: The address cannot be listened on, or no further session can be prepared.
        PSIError: One of so many rounds failed.
        StoppedError: This side was told to stop in the middle of a session.
    """
    from psi.network import fingerprint

    names = {fingerprint(certificate): name for name, certificate in peers.items()}
    number = 0
    with (
        _stopped_between(log, lambda: number),
        network("turns").take_turns(
            address=listen,
            identity=identity,
            peers=peers,
            terms=terms,
            on_listening=lambda port: say_listening(port, log),
            on_turned_away=lambda words: say_turned_away(words, log),
            on_dropped=log.drop,
        ) as turns,
    ):
        while rounds is None or number < rounds:
            _check_dates(identity, peers)
            turn = ready(progress)
            with turns.next_peer(progress, wait_seconds) as (caller, connection):
                number += 1
                told = {"number": number, "peer": names[caller], "fingerprint": caller}
                began = time.monotonic()
                try:
                    log.tell("session begun", **told)
                    words = turn.converse(caller, names[caller], connection)
                except StoppedError as error:
                    where = f"it was session {number}, with {names[caller]}"
                    raise _MidSessionError(f"{error}: {where}", status=error.status) from None
                except PSIError as error:
                    said = in_words(str(error))
                    log.tell("session failed", **told, error=type(error).__name__, message=said)
                    if rounds is not None:
                        raise
                    messages.print(f"session {number} with {names[caller]} failed: {said}")
                    turns.healthy = not isinstance(error, ConfigError)
                    continue
                seconds = round(time.monotonic() - began, 3)
                log.tell("session ended", **told, seconds=seconds)
                messages.print(f"session {number} with {names[caller]}: {words}")
            turn.settle(turns)
            turns.healthy = True


class _MidSessionError(StoppedError):
    """Told to stop while a peer was there."""


@contextmanager
def _stopped_between(log: EventLog, sessions: Callable[[], int]) -> Iterator[None]:
    """End well where nothing was going on when this side was told to stop."""
    try:
        yield
    except _MidSessionError as error:
        log.tell("stopped", message=str(error), sessions=sessions())
        raise
    except StoppedError as error:
        log.tell("stopped", message=str(error), sessions=sessions())
        messages.print(f"{error}, between sessions: {sessions()} were begun")
    finally:
        log.tell_dropped()


def _check_dates(identity: "TLSIdentity", peers: Mapping[str, bytes]) -> None:
    """Refuse to go on with a certificate that nobody would take any more.

    Raises:
        ConfigError: This side's is out of date, or all of the peers' are.
    """
    from psi.network.certificates import check_dates, one_certificate

    own = one_certificate(identity.certificate, "this side's certificate")
    check_dates(own, "this side's certificate", own=True)
    refused: list[ConfigError] = []
    for name, certificate in peers.items():
        try:
            check_dates(one_certificate(certificate, name), f"{name}.crt", own=False)
        except ConfigError as error:
            refused.append(error)
    if len(refused) == len(peers):
        raise refused[0]


def stay(own: OwnTableFile, peers: Mapping[str, bytes], listen: str, log: EventLog) -> None:
    """Serve a table to several peers in turn, until this side is told to stop.

    Args:
        own: This side's table and choices.
        peers: The certificate of each peer, by what to call it.
        listen: HOST:PORT to listen on.
        log: Is told what happens.

    Raises:
        ConfigError: An input is not acceptable, or an output has no place.
        StoppedError: This side was told to stop in the middle of a session.
    """
    from psi.network import fingerprint

    out = own.options.out
    if own.choice.gets_result and out is None:
        raise ConfigError("a side that stays writes each result to a file of its own: give --out")
    if out is not None and not own.choice.gets_result:
        raise ConfigError("this side gets no result: leave out --out, or choose another --result")
    for name in peers:
        own.check(None if out is None else _next_place(out, name))
    ledger = ledger_of(
        own.options,
        epsilon_in_all=own.options.epsilon_in_all,
        delta_in_all=own.options.delta_in_all,
    )
    if ledger is None:
        messages.print("each peer may ask as often as it likes: --ledger FILE limits it")
    with stoppable(), ExitStack() as stack, progress_bar() as progress:
        own.load(progress)
        keepers = {}
        for name, certificate in peers.items():
            caller = fingerprint(certificate)
            keeper = own.keeper([caller])
            if keeper is not None:
                keepers[caller] = stack.enter_context(keeper)
                assert out is not None  # noqa: S101 - who gets a result has a place for it
                write_kept(own, keeper, _next_place(out, name), log)

        class TableTurn:
            """A session with the table."""

            def __init__(self, progress: "Progress") -> None:
                self.session = own.session(progress)
                self.caller, self.name = "", ""
                self.found: SessionFinding | None = None
                party = self.session.party
                if ledger is not None:
                    ledger.check_cost(*party.cost)
                    party.charge_with(lambda _, items: count_to(ledger, self.caller, items, party))

            def converse(self, caller: str, name: str, connection: "Connection") -> str:
                self.caller, self.name = caller, name
                self.found, traffic = own.converse(
                    self.session, keepers.get(caller), connection.converse
                )
                return (
                    f"done by {self.session.party.protocol}, {traffic.bytes_sent} bytes sent, "
                    f"{traffic.bytes_received} received"
                )

            def settle(self, turns: "Turns") -> None:
                say_cost(self.session.party.cost, ledger)
                while self.found is not None and out is not None:
                    place = _next_place(out, self.name)
                    try:
                        put(own, self.found, keepers[self.caller], place)
                    except ConfigError as error:
                        turns.healthy = False
                        log.tell("result not written", peer=self.name, message=str(error))
                        messages.print(f"{in_words(str(error))}; trying again until it can be")
                        time.sleep(_AGAIN_SECONDS)
                    else:
                        log.tell("result written", peer=self.name, out=str(place))
                        messages.print(f"{self.found.words} in {place}")
                        return

        in_turns(
            TableTurn,
            identity=own.identity,
            peers=peers,
            terms=own.choice.terms,
            listen=listen,
            log=log,
            progress=progress,
            rounds=None,
            wait_seconds=None,
        )


def _next_place(out: Path, name: str) -> Path:
    """Return the first name for a result with this peer that no file has."""
    number = 1
    while (place := out.with_name(f"{out.stem}-{name}-{number}{out.suffix}")).exists():
        number += 1
    return place
