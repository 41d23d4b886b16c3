"""What ties a party's identity to its certificate of psi, so that people compare one fingerprint.

The certificate carries the public identity and the identity's signature of the certificate's key.
The certificate signs itself, with the identity in it. So each key vouches for the other: nobody
can put another party's identity beside his own TLS key, or his own identity beside another's key.
"""

from collections.abc import Callable

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from privfed.errors import AuthenticationError, ConfigError, DecodeError
from psi.network.certificates import certify, one_certificate

OID = "2.25.225261978007500938667114985053526474719"  # 2.25: a random UUID, ITU-T X.667
_DOMAIN = b"privfed/1/certificate key\x00"
_OCTETS = b"\x04\x81\xc0"  # an extension's value is DER: an OCTET STRING of 192 bytes
_PUBLIC_BYTES, _BYTES = 128, 192
# What is raised when a certificate's key or extensions cannot be read.
_ODD = ValueError, UnsupportedAlgorithm, x509.DuplicateExtension, x509.UnsupportedGeneralNameType


def bound_certificate(
    key: bytes, name: str, public: bytes, sign: Callable[[bytes], bytes], days: int
) -> bytes:
    """Return a certificate of `key` that is tied to an identity, PEM.

    Args:
        key: P-256 private key, PEM.
        name: The name of the certificate's owner in it.
        public: The public identity, 128 bytes.
        sign: Makes the identity's signature.
        days: How long it is valid.

    Raises:
        ConfigError: The days are too few or too many, or the key is no P-256 key.
    """

    def binding(certified: bytes) -> tuple[str, bytes]:
        return OID, _OCTETS + public + sign(_DOMAIN + certified)

    return certify(key, name, days=days, extension=binding, refusal=ConfigError)


def read_binding(pem: bytes) -> tuple[bytes, bytes, bytes]:
    """Return (public identity, signature, what was signed) from a certificate that signs itself.

    Only TLS checks whether it is still valid: an identity does not expire.

    Raises:
        DecodeError: This is no certificate, or one without an identity.
        AuthenticationError: The certificate does not sign itself.
    """
    if not isinstance(pem, bytes):
        raise DecodeError("a certificate is the bytes of its file: Path.read_bytes()")
    certificate = one_certificate(pem, "the certificate's text", refusal=DecodeError)
    try:
        key = certificate.public_key()
        carried = certificate.extensions.get_extension_for_oid(x509.ObjectIdentifier(OID)).value
    except x509.ExtensionNotFound:
        raise DecodeError(
            "the certificate holds no identity of privfed: its party makes one that does with "
            "`Keyring.certify`"
        ) from None
    except _ODD:
        raise DecodeError("the certificate is damaged: ask its party for it again") from None
    value = carried.value if isinstance(carried, x509.UnrecognizedExtension) else b""
    if len(value) != len(_OCTETS) + _BYTES or not value.startswith(_OCTETS):
        raise DecodeError("the identity in the certificate has another length")
    if not isinstance(key, EllipticCurvePublicKey) or key.curve.name != "secp256r1":
        raise DecodeError("the certificate's key is not of the curve P-256")
    try:
        certificate.verify_directly_issued_by(certificate)
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError):
        raise AuthenticationError("the certificate is not signed by its own key") from None
    body = value[len(_OCTETS) :]
    certified = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return body[:_PUBLIC_BYTES], body[_PUBLIC_BYTES:], _DOMAIN + certified
