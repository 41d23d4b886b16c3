"""What `psi` promises to its users, and what importing it costs them."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import psi
import psi.network

EXPORTS = [
    "Alignment",
    "CardinalityReceiver",
    "CardinalitySender",
    "ConfigError",
    "DeadlineError",
    "DecodeError",
    "DuplicateIDError",
    "InvalidPointError",
    "KeyConfirmationError",
    "Leader",
    "Member",
    "MinimumError",
    "MissingValueWarning",
    "NoisyCardinalityReceiver",
    "NoisyCardinalitySender",
    "NoisySumReceiver",
    "NoisySumSender",
    "OwnNoise",
    "PSIError",
    "ParameterMismatchError",
    "PeerRefusedError",
    "PrivateIDReceiver",
    "PrivateIDSender",
    "ProtocolError",
    "QueryLimitError",
    "Receiver",
    "RepeatedElementError",
    "Sender",
    "SessionParameters",
    "SizeLimitError",
    "StateError",
    "StoppedError",
    "SumParameters",
    "SumReceiver",
    "SumSender",
    "TagStore",
    "TranscriptError",
    "TransportError",
    "UnbalancedReceiver",
    "UnbalancedSender",
    "VersionError",
    "align",
    "padded",
]


ROOMS = {
    "psi.network": [
        "Assembly",
        "Connection",
        "Conversation",
        "Dialogue",
        "FRAME_BYTES",
        "Link",
        "Participant",
        "Progress",
        "Roster",
        "Round",
        "TLSIdentity",
        "Terms",
        "Traffic",
        "Transcript",
        "certify",
        "connect",
        "converse",
        "create_identity",
        "fingerprint",
        "gather",
        "join",
        "listen",
        "load_certificate",
        "meet",
        "serve",
    ],
    "psi.protocols.transfers": [
        "BaseOTReceiver",
        "BaseOTSender",
        "SEED_BYTES",
        "Seeds",
        "TransferLabels",
    ],
    "psi.sessions": [
        "Alignment",
        "Choice",
        "CountChoice",
        "GroupChoice",
        "LargeSide",
        "PairChoice",
        "SumChoice",
        "TableSession",
        "TagStore",
        "align",
        "answering_terms",
    ],
}


def test_exports_are_pinned() -> None:
    assert sorted(psi.__all__) == EXPORTS
    assert all(hasattr(psi, name) for name in EXPORTS)


@pytest.mark.parametrize("name", ROOMS)
def test_the_exports_of_public_rooms_are_pinned(name: str) -> None:
    room = importlib.import_module(name)
    assert sorted(room.__all__) == ROOMS[name]
    assert all(hasattr(room, export) for export in ROOMS[name])


def test_a_room_has_no_more_than_that() -> None:
    with pytest.raises(AttributeError, match="no attribute 'converse_quickly'"):
        _ = psi.network.converse_quickly


def test_the_top_is_a_handful_of_rooms() -> None:
    beside = {"__init__.py", "__main__.py", "__pycache__", "py.typed"}
    rooms = {path.name for path in Path(*psi.__path__).iterdir()} - beside
    assert len(rooms) <= 14, sorted(rooms)


def test_the_error_tree_is_the_documented_one() -> None:
    import psi.errors

    assert psi.errors.__doc__ is not None
    raised = {name for name in vars(psi.errors) if name.endswith(("Error", "Warning"))}
    assert raised == {name for name in EXPORTS if name.endswith(("Error", "Warning"))}
    assert all(name in psi.errors.__doc__ for name in raised)
    errors = raised - {"MissingValueWarning"}
    assert all(issubclass(getattr(psi, name), psi.PSIError) for name in errors)


def test_importing_stays_light() -> None:
    code = (
        "import psi, psi.network, psi.sessions, sys; "
        "print([m for m in sys.argv[1:] if m in sys.modules])"
    )
    heavy = ["torch", "pandas", "pyarrow", "scipy", "numba", "grpc", "typer", "rbcl"]
    done = subprocess.run(
        [sys.executable, "-c", code, *heavy], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_the_top_level_stays_small() -> None:
    """At most 14 rooms, so that somebody new finds the one to look in."""
    beside = {"__init__.py", "__main__.py", "py.typed", "__pycache__"}
    assert len({path.name for path in Path(psi.__file__).parent.iterdir()} - beside) <= 14
