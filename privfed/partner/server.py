"""The server: all parties join, and it passes on and adds what it cannot read.

It keeps nothing on disk and needs nothing but the plan. Whatever goes wrong (a party that leaves
and comes again, a call that breaks), all begin a new session together, and agree between themselves
where to go on.
"""

from __future__ import annotations

import contextlib
import hashlib
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import grpc

import privfed.errors
from privfed.errors import CapacityError, PrivFedError, ReplayError
from privfed.partner.messages import (
    OVERHEAD_BYTES,
    Answer,
    Join,
    Post,
    RoundUpdate,
    Stop,
    decode,
    encode,
    longest,
)
from privfed.partner.noise import NoisySum
from privfed.partner.plan import Plan
from privfed.secagg import Aggregator, Parameters
from psi.network import TLSIdentity
from psi.network.links import known_error
from psi.network.tls import bound, caller_of, options

SERVICE = "privfed.Train"
_PATIENCE_SECONDS = 5.0
_CALLS = 3  # of one party at once: it needs one, and one that broke may still wait
_FLUSH_SECONDS = 5


class RoundSum(Protocol):
    """Adds the updates of one round."""

    def add(self, data: bytes) -> None:
        """Add one; an error of privfed says why not."""

    def total(self) -> bytes:
        """Return the sum, once all are in it."""


class Meeting:
    """What the server knows of one training: who is here, and what they gave; thread-safe.

    Args:
        plan: What is trained.
        params: Its aggregation's parameters.
        tell: Called with a line for the operator.
        patience_seconds: After which a caller that waits is told for whom, and asks again.
        begin: Begins a round's sum, by its number; None: as the plan says.
    """

    def __init__(
        self,
        plan: Plan,
        params: Parameters,
        tell: Callable[[str], None],
        patience_seconds: float = _PATIENCE_SECONDS,
        begin: Callable[[int], RoundSum] | None = None,
    ) -> None:
        self._plan, self._tell = plan, tell
        self._begin = begin or round_sums(plan, params)
        self._process = secrets.token_bytes(16)
        self._patience_seconds = patience_seconds
        self._everybody = frozenset(range(len(plan.parties)))
        self._changed = threading.Condition()
        self._session = b""  # empty until all are here
        self._here: dict[int, bytes] = {}
        self._posts: dict[str, dict[int, bytes]] = {}
        self._round: _Round | None = None
        self._summed = 0  # the last round with a total
        self._stopped: dict[int, str] = {}
        self.finished = threading.Event()

    def join(self, place: int, ask: Join) -> Answer:
        """Begin a session once all are here; its nonces are returned, in the parties' order."""
        if ask.plan != self._plan.fingerprint:
            self._tell(f"{self._name(place)} came with another plan: compare its fingerprint")
            return Answer("refused", reason="ContextMismatchError")
        with self._changed:
            if self._stopped.pop(place, None):
                self._tell(f"{self._name(place)} is back")
            if self._session:
                if self._here.get(place) == ask.nonce:
                    return self._nonces()
                self._break_up()
            if place not in self._here:
                self._tell(f"{self._name(place)} is here")
            self._here[place] = ask.nonce
            if self._here.keys() == self._everybody:
                self._session = hashlib.sha256(b"".join(self._nonces().bodies)).digest()
                self._changed.notify_all()

            def here() -> bool:
                return self._here.get(place) == ask.nonce

            return self._wait(
                lambda: self._nonces() if self._session and here() else None,
                here,
                lambda: self._here.keys(),
            )

    def post(self, place: int, ask: Post) -> Answer:
        """Return what all gave under a topic, once all did."""
        with self._changed:
            if not self._session or ask.session != self._session:
                return self._no_longer()
            if ask.topic != "total" and len(ask.body) > OVERHEAD_BYTES * len(self._everybody):
                return Answer("refused", reason=CapacityError.__name__)
            given = self._posts.setdefault(ask.topic, {})
            if given.setdefault(place, ask.body) != ask.body:
                return Answer("refused", reason=ReplayError.__name__)
            if given.keys() == self._everybody:
                self._changed.notify_all()
                if ask.topic == "done":
                    self.finished.set()
            return self._wait(
                lambda: self._all_of(given), lambda: ask.session == self._session, given.keys
            )

    def upload(self, place: int, ask: RoundUpdate) -> Answer:
        """Add a party's update, and return the total once all gave theirs."""
        with self._changed:
            if not self._session or ask.session != self._session:
                return self._no_longer()
            if self._round is None or ask.round_id > self._round.number:
                if ask.round_id <= self._summed:  # summed anew, it could get another noise
                    return Answer("again")
                self._round = _Round(ask.round_id, self._begin(ask.round_id))
            now = self._round
            if ask.round_id < now.number:
                return Answer("again")
            try:
                if place not in now.given:
                    now.sum.add(ask.body)
                elif now.given[place] != hashlib.sha256(ask.body).digest():
                    raise ReplayError("another update of the same round")
            except PrivFedError as error:
                self._tell(f"{self._name(place)}'s update was refused: {error}")
                return Answer("refused", reason=type(error).__name__)
            now.given[place] = hashlib.sha256(ask.body).digest()
            if now.given.keys() == self._everybody and not now.total:
                try:
                    now.total = now.sum.total()
                except PrivFedError as error:
                    self._tell(f"round {now.number} has no total: {error}")
                    return Answer("refused", reason=type(error).__name__)
                self._summed = now.number
                self._changed.notify_all()
            return self._wait(
                lambda: Answer("all", bodies=(now.total,)) if now.total else None,
                lambda: ask.session == self._session and self._round is now,
                now.given.keys,
            )

    def stop(self, place: int, ask: Stop) -> Answer:
        """Tell all others that a party cannot go on; until it joins again."""
        with self._changed:
            said = known_error(ask.reason, privfed.errors, PrivFedError)
            self._tell(f"{self._name(place)} stopped: {said}")
            self._stopped[place] = ask.reason
            self._break_up()
        return Answer("all")

    def restart(self) -> None:
        """Let all begin a new session, as when somebody comes back."""
        with self._changed:
            self._break_up()

    def _wait(
        self,
        ready: Callable[[], Answer | None],
        goes_on: Callable[[], bool],
        heard: Callable[[], Any],
    ) -> Answer:
        """Wait a while until it is ready; says for whom, where it is not."""
        give_up = time.monotonic() + self._patience_seconds
        while (answer := ready()) is None and goes_on() and not self._stopped:
            left = give_up - time.monotonic()
            if left <= 0:
                return Answer("waiting", places=tuple(sorted(self._everybody - set(heard()))))
            self._changed.wait(left)
        return answer or self._no_longer()

    def _no_longer(self) -> Answer:
        """Say why a session has ended."""
        if not self._stopped:
            return Answer("again")
        place, reason = next(iter(self._stopped.items()))
        return Answer("stopped", places=(place,), reason=reason)

    def _nonces(self) -> Answer:
        bodies = tuple(self._here[place] for place in sorted(self._here))
        return Answer("all", bodies=bodies, process=self._process)

    def _all_of(self, given: dict[int, bytes]) -> Answer | None:
        if given.keys() != self._everybody:
            return None
        return Answer("all", bodies=tuple(given[place] for place in sorted(given)))

    def _break_up(self) -> None:
        self._session, self._here, self._posts = b"", {}, {}
        if self._round is not None and not self._round.total:
            self._round = None  # a total that is there stays: it is made once
        self._changed.notify_all()

    def _name(self, place: int) -> str:
        return self._plan.parties[place].name


class _Round:
    """One round's sum: the digest of what each party gave, and the total once it is there."""

    def __init__(self, number: int, begun: RoundSum) -> None:
        self.number, self.sum = number, begun
        self.given: dict[int, bytes] = {}
        self.total = b""


def round_sums(plan: Plan, params: Parameters) -> Callable[[int], RoundSum]:
    """Return what begins the sum of a round of a plan."""
    private = plan.private
    if private is not None and plan.method == "central":
        return lambda number: NoisySum(private)
    return lambda number: Aggregator(params, number)


@contextlib.contextmanager
def served(
    plan: Plan,
    params: Parameters,
    identity: TLSIdentity,
    *,
    address: str | None = None,
    tell: Callable[[str], None] = lambda line: None,
    on_listening: Callable[[int], None] = lambda port: None,
    begin: Callable[[int], RoundSum] | None = None,
    most_bytes: int | None = None,
) -> Iterator[Meeting]:
    """Serve a training while the block runs.

    Args:
        plan: What is trained.
        params: Its aggregation's parameters.
        identity: The server's key and certificate, which the plan names.
        address: HOST:PORT to listen on; None: the plan's port on all interfaces.
        tell: Called with a line for the operator.
        on_listening: Called with the port.
        begin: As of `Meeting`.
        most_bytes: As of `connected`.

    Yields:
        The meeting, whose `finished` is set once all parties say that they are done.

    Raises:
        ConfigError: The address cannot be listened on.
    """
    meeting = Meeting(plan, params, tell, begin=begin)
    places = {each.fingerprint: place for place, each in enumerate(plan.parties)}
    turns = [threading.BoundedSemaphore(_CALLS) for _ in plan.parties]

    def method(kind: type[Any], act: Callable[[int, Any], Answer]) -> Any:
        def answer(request: bytes, context: Any) -> bytes:
            place = places[caller_of(context)]  # TLS lets in no others
            if not turns[place].acquire(blocking=False):  # the threads are for all
                return encode(Answer("refused", reason=CapacityError.__name__))
            try:
                return encode(act(place, decode(request, kind)))
            except PrivFedError as error:
                return encode(Answer("refused", reason=type(error).__name__))
            finally:
                turns[place].release()

        return grpc.unary_unary_rpc_method_handler(answer)

    methods = {
        "Join": method(Join, meeting.join),
        "Post": method(Post, meeting.post),
        "Upload": method(RoundUpdate, meeting.upload),
        "Stop": method(Stop, meeting.stop),
    }
    # One thread more than may wait, so that calls past a party's own are turned away at once.
    pool = ThreadPoolExecutor(_CALLS * len(plan.parties) + 1)
    server = grpc.server(
        pool,
        (grpc.method_handlers_generic_handler(SERVICE, methods),),
        options=options(most_bytes or longest(plan, params)),
    )
    certificates = [each.certificate.encode() for each in plan.parties]
    where = address or f"0.0.0.0:{plan.address.rpartition(':')[2]}"
    with bound(server, where, identity, certificates) as port:
        server.start()
        try:
            on_listening(port)
            yield meeting
        finally:
            server.stop(_FLUSH_SECONDS).wait()
