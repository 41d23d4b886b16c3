"""Keys and certificates: what keygen writes, and what is not accepted as one."""

import base64
import contextlib
import datetime
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from psi import ConfigError
from psi.network.certificates import (
    TLSIdentity,
    certify,
    create_identity,
    fingerprint,
    load_certificate,
    new_key,
)


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    create_identity(tmp_path / "alice", unlocked=True)
    return tmp_path / "alice"


def test_a_new_identity_is_read_back_and_kept_private(prefix: Path) -> None:
    identity = TLSIdentity.load(prefix)
    assert identity.certificate == load_certificate(prefix.with_name("alice.crt"))
    assert stat.S_IMODE(prefix.with_name("alice.key").stat().st_mode) == 0o600
    assert "PRIVATE" not in repr(identity)
    assert len(fingerprint(identity.certificate)) == 32 * 3 - 1


def test_nothing_is_overwritten(prefix: Path) -> None:
    with pytest.raises(ConfigError, match="exists"):
        create_identity(prefix, unlocked=True)


def test_a_key_that_others_may_read(prefix: Path) -> None:
    prefix.with_name("alice.key").chmod(0o640)
    with pytest.raises(ConfigError, match="chmod 600"):
        TLSIdentity.load(prefix)


def test_the_key_of_another(prefix: Path) -> None:
    create_identity(prefix.with_name("bob"), unlocked=True)
    prefix.with_name("bob.crt").replace(prefix.with_name("alice.crt"))
    with pytest.raises(ConfigError, match="not the key"):
        TLSIdentity.load(prefix)


@pytest.mark.parametrize("name", ["alice.key", "alice.crt"])
def test_files_that_hold_something_else(prefix: Path, name: str) -> None:
    prefix.with_name(name).write_text("something else")
    with pytest.raises(ConfigError, match="holds no"):
        TLSIdentity.load(prefix)


def test_absent_files(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        TLSIdentity.load(tmp_path / "nobody")


def test_out_of_date(prefix: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    later = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=366)

    class Later(datetime.datetime):
        @classmethod
        def now(cls, tz: object = None) -> "Later":
            return cls.fromtimestamp(later.timestamp(), datetime.UTC)

    monkeypatch.setattr(datetime, "datetime", Later)
    with pytest.raises(ConfigError, match="out of date"):
        load_certificate(prefix.with_name("alice.crt"))


@pytest.mark.parametrize("days", [0, -1, 36_501, 10**12])
def test_a_validity_of_no_days_or_too_many(tmp_path: Path, days: int) -> None:
    with pytest.raises(ConfigError, match="one day"):
        create_identity(tmp_path / "alice", days=days, unlocked=True)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["ü" * 70, "\udcff", "a" * 200])
def test_names_that_a_certificate_has_no_room_for(tmp_path: Path, name: str) -> None:
    create_identity(tmp_path / name, unlocked=True)
    certificate = (tmp_path / f"{name}.crt").read_bytes()
    assert TLSIdentity.load(tmp_path / name).certificate == certificate


@pytest.mark.parametrize("prefix", [".", "/"])
def test_a_prefix_that_is_no_name(prefix: str) -> None:
    with pytest.raises(ConfigError, match="no name"):
        create_identity(Path(prefix), unlocked=True)


def test_a_key_under_a_passphrase(tmp_path: Path) -> None:
    words = "correct horse"
    create_identity(tmp_path / "alice", passphrase=words)
    assert b"PRIVATE" not in (tmp_path / "alice.key").read_bytes()
    for wrong in (None, "wrong"):
        with pytest.raises(ConfigError, match="passphrase"):
            TLSIdentity.load(tmp_path / "alice", wrong)
    assert b"PRIVATE" in TLSIdentity.load(tmp_path / "alice", words).key
    stored = (tmp_path / "alice.key").read_bytes()
    for cut in (9, 20, 30, 45, len(stored) - 1):
        (tmp_path / "alice.key").write_bytes(stored[:cut])
        with pytest.raises(ConfigError, match=r"altered|holds no"):
            TLSIdentity.load(tmp_path / "alice", words)


def test_a_folder_that_holds_the_pair(prefix: Path) -> None:
    folder = prefix.with_name("folder")
    folder.mkdir()
    create_identity(folder / "tls", unlocked=True)
    assert TLSIdentity.load(folder).certificate == load_certificate(folder / "tls.crt")
    create_identity(folder, unlocked=True)  # a pair of that name beside it is what it was before
    assert TLSIdentity.load(folder).certificate == load_certificate(folder.with_name("folder.crt"))


def test_what_a_caller_ties_to_the_key_is_carried_and_ignored(tmp_path: Path) -> None:
    key, seen = new_key(), []

    def extension(public: bytes) -> tuple[str, bytes]:
        seen.append(public)
        return "2.25.1", b"\x04\x01x"

    pem = certify(key, "alice", extension=extension)
    read = x509.load_pem_x509_certificate(pem)
    assert seen == [read.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)]
    carried = read.extensions.get_extension_for_oid(x509.ObjectIdentifier("2.25.1"))
    assert isinstance(carried.value, x509.UnrecognizedExtension)
    assert (carried.critical, carried.value.value) == (False, b"\x04\x01x")
    (tmp_path / "alice.crt").write_bytes(pem)
    assert load_certificate(tmp_path / "alice.crt") == pem


def test_altered_certificates_are_read_or_refused_by_name(prefix: Path) -> None:
    path = prefix.with_name("alice.crt")
    whole = x509.load_pem_x509_certificate(path.read_bytes()).public_bytes(Encoding.DER)
    read = {load_certificate: 0, TLSIdentity.load: 0}
    for place in range(len(whole)):
        bad = whole[:place] + bytes([whole[place] ^ 0x11]) + whole[place + 1 :]
        text = base64.encodebytes(bad).decode()
        path.write_text(f"-----BEGIN CERTIFICATE-----\n{text}-----END CERTIFICATE-----\n")
        for load, at in ((load_certificate, path), (TLSIdentity.load, prefix)):
            with contextlib.suppress(ConfigError):
                load(at)
                read[load] += 1
    # Most of it is name, dates and signature, which only the other side compares.
    assert 0 < read[TLSIdentity.load] <= read[load_certificate] < len(whole)


def test_altered_keys_are_read_or_refused_by_name(prefix: Path) -> None:
    path = prefix.with_name("alice.key")
    key = serialization.load_pem_private_key(path.read_bytes(), None)
    whole = key.private_bytes(
        Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    read = 0
    for place in range(len(whole)):
        bad = whole[:place] + bytes([whole[place] ^ 0x01]) + whole[place + 1 :]
        text = base64.encodebytes(bad).decode()
        path.write_text(f"-----BEGIN PRIVATE KEY-----\n{text}-----END PRIVATE KEY-----\n")
        with contextlib.suppress(ConfigError):
            TLSIdentity.load(prefix)
            read += 1
        with contextlib.suppress(ConfigError):
            certify(path.read_bytes(), "alice")
    assert read < len(whole)
