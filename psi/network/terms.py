"""What must be agreed before a conversation begins: fields, compared one by one.

A side sends its terms as JSON. What comes back is measured before it is read, and read into the
type of this side's own terms: a field, or a value, that this type does not allow is an error that
repeats nothing of it. So what a peer sends reaches the screen only if this side could have sent it.
"""

from typing import Annotated

import msgspec

from psi.errors import DecodeError, ParameterMismatchError, VersionError
from psi.storage import json_bytes, json_read

__all__ = ["HANDSHAKE_VERSION", "MOST_TERMS_BYTES", "Terms"]

HANDSHAKE_VERSION = 3
"""Of the handshake alone: a message of a state machine has `psi.protocols.messages.VERSION`."""

MOST_TERMS_BYTES = 4096


class _Versioned(msgspec.Struct, frozen=True):
    """What the terms of any version hold."""

    version: Annotated[int, msgspec.Meta(ge=0, lt=1 << 16)]


class Terms(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What all sides of a conversation must choose alike.

    A subclass adds fields, in the order in which they are compared. Their types are narrow
    (Literals, patterns, ranges): they say what may reach the other side's screen.

    Attributes:
        version: Of the handshake.
    """

    version: int = HANDSHAKE_VERSION

    def encode(self) -> bytes:
        """JSON, as it goes to the other side."""
        return json_bytes(self)

    def check(self, theirs: bytes, name: str = "the other side") -> None:
        """Compare what another side sent with these terms.

        Args:
            theirs: What it sent, whatever that is.
            name: What to call it.

        Raises:
            DecodeError: They are no terms such as these.
            VersionError: They are of another version.
            ParameterMismatchError: A field differs; the message gives both values.
        """
        if len(theirs) > MOST_TERMS_BYTES:
            raise DecodeError(f"{name} sent terms of more than {MOST_TERMS_BYTES} bytes")
        try:
            version = json_read(theirs, _Versioned).version
            if version != self.version:
                raise VersionError(
                    f"{name} speaks version {version} of the handshake, this side {self.version}: "
                    "install the same psi on both sides"
                )
            found = json_read(theirs, type(self))
        except ValueError:  # whose words repeat what was sent
            raise DecodeError(
                f"{name} sent terms that this side does not know: choose the same on both sides, "
                "and install the same psi"
            ) from None
        for field in self.__struct_fields__:
            own, other = getattr(self, field), getattr(found, field)
            if own != other:
                raise ParameterMismatchError(
                    f"{name} chose {field}={_shown(other)}, this side {_shown(own)}: choose the "
                    "same on both sides"
                )


def _shown(value: object) -> str:
    return "none" if value is None else str(value)
