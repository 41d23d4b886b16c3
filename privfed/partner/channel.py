"""A party's end: questions to the server, asked again until it answers or patience ends."""

from __future__ import annotations

import contextlib
import hashlib
import secrets
import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import msgspec

import privfed.errors
from privfed.errors import ContextMismatchError, PeerError, PrivFedError
from privfed.partner.messages import (
    Answer,
    Join,
    Post,
    RoundUpdate,
    Stop,
    Topic,
    decode,
    encode,
    longest,
)
from privfed.partner.plan import Plan
from privfed.partner.server import SERVICE
from privfed.secagg import Parameters
from psi.network import TLSIdentity
from psi.network.links import known_error
from psi.network.tls import secure_channel

_CALL_SECONDS = 30  # the server answers within 5, if it is there
_RETRY_SECONDS = 0.2
_PASSING = (  # what another try may mend
    grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED,
)  # fmt: skip


class AgainError(Exception):
    """Somebody left or came, or the server did: all begin a new session; never seen by a user."""


class Channel:
    """What a party asks the server; `connected` makes one."""

    def __init__(
        self,
        call: Callable[[str, bytes], bytes],
        plan: Plan,
        *,
        wait_seconds: float,
        tell: Callable[[str], None],
    ) -> None:
        """Take a way to call.

        Args:
            call: Calls a method with bytes.
            plan: What is trained.
            wait_seconds: For how long others may be missed.
            tell: Called with a line for the operator, as when this side begins to wait.
        """
        self._call, self._plan, self.tell = call, plan, tell
        self.wait_seconds = wait_seconds
        self.session = b""
        self.process = b""  # of the server

    def join(self) -> bytes:
        """Begin a session with all others.

        Returns:
            What is fresh of it, the same at all: to be signed.

        Raises:
            PeerError: Not all came in time, or the server is not reached.
        """
        self.session = b""
        ask = Join(self._plan.fingerprint, secrets.token_bytes(16))
        answer = self._ask("Join", ask)
        if ask.nonce not in answer.bodies:
            raise PeerError("the server left this party's nonce out: it is no server of this plan")
        self.session = hashlib.sha256(b"".join(answer.bodies)).digest()
        self.process = answer.process
        return self.session

    def exchange(self, topic: Topic, body: bytes) -> tuple[bytes, ...]:
        """Send bytes to all, and receive those of all.

        Returns:
            What each gave, in the parties' order.

        Raises:
            PeerError: Somebody did not come in time, or the server is not reached.
            AgainError: A new session begins.
        """
        bodies = self._ask("Post", Post(self.session, topic, body)).bodies
        if len(bodies) != len(self._plan.parties):
            raise PeerError("the server gave the messages of another number of parties")
        return bodies

    def sum(self, round_id: int, upload: bytes) -> bytes:
        """Send an update, and wait for the total.

        Returns:
            The round's total, of which nothing is trusted yet.

        Raises:
            PeerError: Somebody did not come in time, or the server is not reached.
            AgainError: A new session begins.
        """
        bodies = self._ask("Upload", RoundUpdate(self.session, round_id, upload)).bodies
        if len(bodies) != 1:
            raise PeerError("the server gave no total, or several")
        return bodies[0]

    def stop(self, error: PrivFedError) -> None:
        """Tell the others that this side cannot go on; whether they hear it is up to the server."""
        with contextlib.suppress(grpc.RpcError):
            self._call("Stop", encode(Stop(type(error).__name__)))

    def _ask(self, method: str, ask: msgspec.Struct) -> Answer:
        request, began, told = encode(ask), time.monotonic(), ""
        while True:
            missed = self._missed(method, request)
            if isinstance(missed, Answer):
                return missed
            if time.monotonic() - began > self.wait_seconds:
                raise PeerError(
                    f"waited {self.wait_seconds:g} s for {missed}: start again, and all go on "
                    "from the last round that is finished"
                )
            if missed != told:
                self.tell(f"waiting for {missed}")
                told = missed

    def _missed(self, method: str, request: bytes) -> Answer | str:
        """Ask once; return the answer, or who is missed."""
        try:
            answer = decode(self._call(method, request), Answer)
        except grpc.RpcError as error:
            if method != "Join" and error.code() is grpc.StatusCode.UNAVAILABLE:
                raise AgainError from None
            if error.code() not in _PASSING:
                raise PeerError(
                    f"the server failed ({error.code().name}): look at its screen, and install the "
                    "same privfed there"
                ) from None
            time.sleep(_RETRY_SECONDS)
            return _why(error, self._plan.address)
        if answer.what == "all":
            return answer
        said = known_error(answer.reason, privfed.errors, PrivFedError)
        if answer.what == "stopped":
            raise PeerError(
                f"{self._names(answer)} stopped: {said}: look there; all go on from the last round "
                "that is finished when each starts again"
            )
        if answer.what == "refused" and said == ContextMismatchError.__name__:
            raise PeerError("the server has another plan: compare the fingerprint of both")
        if answer.what == "refused":
            raise PeerError(f"the server refused what this party sent ({said}): look at its screen")
        if answer.what == "waiting":
            return self._names(answer)
        if method != "Join":
            raise AgainError
        return "a new session"

    def _names(self, answer: Answer) -> str:
        return ", ".join(
            each.name for at, each in enumerate(self._plan.parties) if at in answer.places
        )


@contextlib.contextmanager
def connected(
    plan: Plan,
    params: Parameters,
    identity: TLSIdentity,
    *,
    address: str | None = None,
    wait_seconds: float,
    tell: Callable[[str], None] = lambda line: None,
    most_bytes: int | None = None,
) -> Iterator[Channel]:
    """Yield a channel to the plan's server.

    Args:
        plan: What is trained.
        params: Its aggregation's parameters.
        identity: This party's key and certificate.
        address: HOST:PORT of the server; None: the plan's.
        wait_seconds: For how long others may be missed.
        tell: Called with a line when this side begins to wait.
        most_bytes: The longest message, where values travel in another way than the plan's.

    Yields:
        The channel.
    """
    certificate = plan.server.certificate.encode()
    where = address or plan.address
    most = most_bytes or longest(plan, params)
    with secure_channel(where, identity, certificate, most) as channel:

        def call(method: str, request: bytes) -> bytes:
            ask = channel.unary_unary(f"/{SERVICE}/{method}")
            return bytes(ask(request, timeout=_CALL_SECONDS, wait_for_ready=False))

        yield Channel(call, plan, wait_seconds=wait_seconds, tell=tell)


def _why(error: Any, address: str) -> str:
    said = error.details() or ""
    if "CERTIFICATE_VERIFY_FAILED" in said:
        return "a server with the plan's certificate: another one listens there"
    if "resol" in said:
        return f"the server: nobody knows its host, {address}"
    return f"the server at {address}"
