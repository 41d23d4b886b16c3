"""What `psi` promises to its users, and what importing it costs them."""

import subprocess
import sys

import psi

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
    "PSIError",
    "ParameterMismatchError",
    "Parameters",
    "PeerRefusedError",
    "PrivateIDReceiver",
    "PrivateIDSender",
    "ProtocolError",
    "QueryLimitError",
    "Receiver",
    "RepeatedElementError",
    "Sender",
    "SizeLimitError",
    "StateError",
    "SumParameters",
    "SumReceiver",
    "SumSender",
    "TagStore",
    "TranscriptError",
    "TransportError",
    "TrustWarning",
    "UnbalancedReceiver",
    "UnbalancedSender",
    "UnkeptLimitError",
    "VersionError",
    "align",
    "padded",
]


def test_exports_are_pinned() -> None:
    assert sorted(psi.__all__) == EXPORTS
    assert all(hasattr(psi, name) for name in EXPORTS)


def test_the_error_tree_is_the_documented_one() -> None:
    import psi.errors

    assert psi.errors.__doc__ is not None
    raised = {name for name in vars(psi.errors) if name.endswith(("Error", "Warning"))}
    assert raised == {name for name in EXPORTS if name.endswith(("Error", "Warning"))}
    assert all(name in psi.errors.__doc__ for name in raised)
    errors = raised - {"MissingValueWarning", "TrustWarning"}
    assert all(issubclass(getattr(psi, name), psi.PSIError) for name in errors)


def test_importing_stays_light() -> None:
    code = "import psi, sys; print([m for m in sys.argv[1:] if m in sys.modules])"
    heavy = ["torch", "pandas", "pyarrow", "scipy", "numba", "grpc", "typer", "rbcl"]
    done = subprocess.run(
        [sys.executable, "-c", code, *heavy], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
