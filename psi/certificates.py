"""Who the other company is: one key and one self-signed certificate a side, exchanged by hand.

Each side trusts exactly the certificate that the other gave it. There is no authority that could
be tricked into issuing another one, and the name in it is not looked up anywhere.
"""

import datetime
import os
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from psi.errors import ConfigError
from psi.storage import read_secret, write_new

__all__ = ["TLS_NAME", "Identity", "create_identity", "fingerprint", "load_certificate"]

TLS_NAME = "psi.invalid"  # what TLS checks instead of a host's name: the certificate is pinned


@dataclass(frozen=True)
class Identity:
    """A side's private key and certificate, PEM-encoded.

    Attributes:
        key: The private key; hidden from repr.
        certificate: The certificate that the other side holds.
    """

    key: bytes = field(repr=False)
    certificate: bytes = field(repr=False)

    @classmethod
    def load(cls, prefix: Path) -> "Identity":
        """Read PREFIX.key and PREFIX.crt, as `create_identity` wrote them.

        Raises:
            ConfigError: They cannot be read, others may read the key, or it is another one's.
        """
        key_path = prefix.with_name(prefix.name + ".key")
        key = read_secret(key_path)
        certificate = load_certificate(prefix.with_name(prefix.name + ".crt"))
        try:
            public = serialization.load_pem_private_key(key, None).public_key()
        except (ValueError, TypeError) as error:
            raise ConfigError(f"{key_path} holds no private key without a password") from error
        if public != x509.load_pem_x509_certificate(certificate).public_key():
            raise ConfigError(f"{key_path} is not the key of the certificate beside it")
        return cls(key, certificate)


def create_identity(prefix: Path, *, days: int = 365) -> str:
    """Write PREFIX.key (keep it) and PREFIX.crt (give it to the other side).

    Args:
        prefix: Where to; its last part is the name in the certificate.
        days: How long the certificate is valid, from now.

    Returns:
        The certificate's fingerprint, for comparing by telephone.

    Raises:
        ConfigError: A file is there already or cannot be written.
    """
    if days < 1:
        raise ConfigError("a certificate is valid for at least one day")
    key_path, certificate_path = (
        prefix.with_name(prefix.name + ending) for ending in (".key", ".crt")
    )
    for path in (key_path, certificate_path):  # both first: half an identity is none
        if os.path.lexists(path):
            raise ConfigError(f"{path} exists: choose another name")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, prefix.name[:64])])
    now = datetime.datetime.now(datetime.UTC)
    both_ends = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))  # clocks differ
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(TLS_NAME)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage(both_ends), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    public = certificate.public_bytes(serialization.Encoding.PEM)
    write_new(key_path, private)
    try:
        write_new(certificate_path, public, mode=0o644)
    except BaseException:
        key_path.unlink()
        raise
    return fingerprint(public)


def load_certificate(path: Path) -> bytes:
    """Read a PEM certificate that is valid now.

    Raises:
        ConfigError: The file cannot be read, holds no certificate, or it is out of date.
    """
    content = _read(path)
    try:
        certificate = x509.load_pem_x509_certificate(content)
    except ValueError as error:
        raise ConfigError(f"{path} holds no certificate: psi keygen makes one") from error
    now = datetime.datetime.now(datetime.UTC)
    if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
        raise ConfigError(f"{path} is out of date: make a new one with psi keygen")
    return content


def fingerprint(certificate: bytes) -> str:
    """SHA-256 of a PEM certificate, in hexadecimal."""
    return x509.load_pem_x509_certificate(certificate).fingerprint(hashes.SHA256()).hex(":")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
