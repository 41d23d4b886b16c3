"""How two sides meet: who calls greets with its terms, who listens compares them, and says why not.

A refusal is words that this side has for it: of what the other side or the network says, only a
release number reaches the screen. Beside the greeting a server answers the standard health check of
gRPC (grpc.health.v1), to its peers and to whoever holds its own key.
"""

import re
import threading
import time
from collections.abc import Callable
from typing import Any

import grpc

from psi.defaults import HEALTH_SECONDS, RELEASE
from psi.errors import DecodeError, ProtocolError, TransportError, VersionError
from psi.network.terms import Terms

__all__ = ["IN_TURN", "SERVICE", "Greeter", "greet", "is_healthy", "why_not"]

SERVICE = "psi.Session"
_HEALTH = "grpc.health.v1.Health"
_SERVING, _NOT_SERVING = b"\x08\x01", b"\x08\x02"  # HealthCheckResponse.status, field 1
_RETRY_SECONDS, _LONGEST_RETRY_SECONDS, _RETRY_GROWTH = 0.02, 0.5, 1.5
_TRY_SECONDS = 5
_MOST_TOLD = 8  # reasons for turning away that are told: a peer must not fill the screen
_OTHER_TERMS, IN_TURN = "other terms", "in turn"
_RELEASE_KEY = "psi-release"
_RELEASE = re.compile(r"\d{1,4}(\.\d{1,4}){1,3}[a-z0-9.]{0,8}")


class Greeter:
    """What every listening side answers: a greeting, a conversation, and whether it is well."""

    def __init__(self, on_turned_away: Callable[[str], None] | None = None) -> None:
        """Begin to listen.

        Args:
            on_turned_away: Called with what was wrong when a peer is turned away, once for each
                different reason.
        """
        self._on_turned_away = on_turned_away or (lambda words: None)
        self._told: set[str] = set()
        self._lock = threading.Lock()
        self._agreed: set[str] = set()
        self.healthy = True

    def handlers(self) -> tuple[Any, ...]:
        """All methods, in gRPC's form."""
        session = {
            "Greet": grpc.unary_unary_rpc_method_handler(self._greet),
            "Talk": grpc.stream_stream_rpc_method_handler(self._talk),
        }
        health = {"Check": grpc.unary_unary_rpc_method_handler(self._check_health)}
        return (
            grpc.method_handlers_generic_handler(SERVICE, session),
            grpc.method_handlers_generic_handler(_HEALTH, health),
        )

    def _greet(self, theirs: bytes, context: Any) -> bytes:
        raise NotImplementedError

    def _talk(self, incoming: Any, context: Any) -> Any:
        raise NotImplementedError

    def _check_health(self, request: bytes, context: Any) -> bytes:
        return _SERVING if self.healthy else _NOT_SERVING

    def _compare(self, terms: Terms, theirs: bytes, caller: str, name: str, context: Any) -> bytes:
        """Return this side's terms; a caller who came with the same ones may talk."""
        try:
            terms.check(theirs, name)
        except ProtocolError as error:
            words = str(error)
            release = _release_of(context.invocation_metadata())
            if isinstance(error, DecodeError) and release not in (None, RELEASE):
                words = _other_release(name, release)
            self._turn_away(caller, words)
            if isinstance(error, DecodeError):  # it would not understand our terms either
                _stop(context, grpc.StatusCode.FAILED_PRECONDITION, _OTHER_TERMS)
        else:
            with self._lock:
                self._agreed.add(caller)
        return terms.encode()

    def _turn_away(self, caller: str, words: str) -> None:
        with self._lock:
            self._agreed.discard(caller)
            new = words not in self._told and len(self._told) < _MOST_TOLD
            self._told.update({words} if new else ())
        if new:
            self._on_turned_away(words)


def greet(channel: Any, terms: Terms, name: str, address: str, wait_seconds: float) -> None:
    """Try to connect until it succeeds, and compare the terms.

    Args:
        channel: To the side that listens.
        terms: What must be agreed.
        name: What to call that side.
        address: Where it is, for the errors.
        wait_seconds: How long to try.

    Raises:
        TransportError: The other side is not reached, not the trusted one, or busy.
        ProtocolError: It does not agree to the terms.
        VersionError: It is of another release.
    """
    give_up = time.monotonic() + wait_seconds
    call = channel.unary_unary(f"/{SERVICE}/Greet")
    pause = _RETRY_SECONDS
    while True:
        left = max(give_up - time.monotonic(), 0.1)
        try:
            theirs = call(
                terms.encode(),
                timeout=min(left, _TRY_SECONDS),
                metadata=((_RELEASE_KEY, RELEASE),),
            )
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.FAILED_PRECONDITION:
                release = _release_of(error.initial_metadata())
                if release not in (None, RELEASE):
                    raise VersionError(_other_release(name, release)) from None
                raise VersionError(
                    f"{name} does not know the terms that this side chose: choose the same on "
                    "both sides, and install the same psi"
                ) from None
            if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED:
                raise TransportError(f"{name} is in a session already") from None
            final, words = why_not(error, name, address)
            if final or time.monotonic() + pause > give_up:
                raise TransportError(words) from None
        else:
            terms.check(theirs, name)
            return
        time.sleep(pause)
        pause = min(pause * _RETRY_GROWTH, _LONGEST_RETRY_SECONDS)


def is_healthy(channel: Any, address: str, wait_seconds: float = HEALTH_SECONDS) -> bool:
    """Return whether the side that listens says that it serves.

    Args:
        channel: To that side.
        address: Where it is, for the errors.
        wait_seconds: How long it may take to answer.

    Raises:
        TransportError: It is not reached, or not the trusted one.
    """
    try:
        said = channel.unary_unary(f"/{_HEALTH}/Check")(b"", timeout=wait_seconds)
    except grpc.RpcError as error:
        raise TransportError(why_not(error, "the server", address)[1]) from None
    return bool(said == _SERVING)


def why_not(error: Any, name: str, address: str) -> tuple[bool, str]:
    """Return whether trying again is of no use, and why nobody was reached, in our words."""
    said = error.details() or ""
    for part, final, words in _REASONS:
        if part in said:
            return final, words.format(name=name, address=address)
    if error.code() is grpc.StatusCode.UNIMPLEMENTED:
        return True, (
            f"what listens at {address} is another service of {name}: check the port, and that it "
            "serves for this"
        )
    return False, (
        f"cannot reach {name} at {address}: nobody answers; check the address, and what lies "
        "between"
    )


_REASONS = (
    (
        "certificate has expired",
        True,
        "the certificate of {name}, who listens at {address}, is out of date: ask for a new one",
    ),
    (
        "certificate is not yet valid",
        True,
        "the certificate of {name}, who listens at {address}, is not valid yet: check the clocks "
        "of both machines",
    ),
    (
        "CERTIFICATE_VERIFY_FAILED",
        True,
        "whoever listens on {address} does not have the certificate given as {name}'s",
    ),
    (
        "WRONG_VERSION_NUMBER",
        True,
        "what listens at {address} does not speak TLS, so it is not {name}: check the port",
    ),
    (
        "resol",
        False,
        "cannot reach {name} at {address}: nobody knows this host; check its name",
    ),
    (
        "onnection refused",
        False,
        "cannot reach {name} at {address}: nothing listens there; check the address, and that it "
        "serves",
    ),
    (
        IN_TURN,
        False,
        "cannot reach {name} at {address} in time: it is with another side; try again",
    ),
    (
        "Socket closed",
        False,
        "cannot reach {name} at {address}: it hangs up; check that it was given this side's "
        "certificate, that this is still valid there, and the clocks of both machines",
    ),
)


def _other_release(name: str, release: str | None) -> str:
    return (
        f"{name} runs psi {release}, this side {RELEASE}, and they do not know each "
        "other's terms: install the same psi on both sides"
    )


def _release_of(metadata: Any) -> str | None:
    """Return the release that a side says it is, if it looks like one."""
    for key, value in metadata or ():
        if key == _RELEASE_KEY and isinstance(value, str) and _RELEASE.fullmatch(value):
            return value
    return None


def _stop(context: Any, code: Any, words: str) -> None:
    """End a call, and say of which release this side is."""
    context.send_initial_metadata(((_RELEASE_KEY, RELEASE),))
    context.abort(code, words)
