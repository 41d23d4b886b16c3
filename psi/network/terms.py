"""What must be agreed before a conversation begins: fields, compared one by one.

A side sends its terms as JSON. The other side's length is checked before it is parsed, and it is
parsed as the type of this side's own terms. A field or a value that this type does not allow is an
error, which repeats nothing of it. So text of a peer reaches the screen only if this side could
have sent it, too.
"""

from typing import Annotated

import msgspec

from psi.errors import DecodeError, ParameterMismatchError, VersionError
from psi.storage import json_bytes, json_read

__all__ = ["HANDSHAKE_VERSION", "MOST_TERMS_BYTES", "Terms"]

HANDSHAKE_VERSION = 4
"""Version of the handshake alone; a protocol's messages have `psi.protocols.messages.VERSION`."""

MOST_TERMS_BYTES = 4096


class _Versioned(msgspec.Struct, frozen=True):
    """The part of the terms that all versions have."""

    version: Annotated[int, msgspec.Meta(ge=0, lt=1 << 16)]


class Terms(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What all sides of a conversation must choose alike.

    A subclass adds fields, in the order in which they are compared. Their types are narrow
    (Literals, patterns, ranges), as they decide what may reach the other side's screen.

    Attributes:
        version: Version of the handshake.
    """

    version: int = HANDSHAKE_VERSION

    def encode(self) -> bytes:
        """Return the JSON that goes to the other side."""
        return json_bytes(self)

    def check(self, theirs: bytes, name: str = "the other side") -> None:
        """Compare what another side sent with these terms.

        Args:
            theirs: The bytes that it sent.
            name: What to call it.

        Raises:
            DecodeError: These bytes are no such terms.
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
        except ValueError:  # its message repeats what was sent
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
