"""One identity for aggregation and for psi: each of its keys vouches for the other."""

import base64
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

import psi.network.certificates
from privfed.errors import AuthenticationError, ConfigError, DecodeError
from privfed.keys.certificate import OID
from privfed.secagg import Identity, Keyring, PublicIdentity, generate_identity
from psi.network.certificates import certify, create_identity, fingerprint, new_key
from tests.secagg.command import run_keys
from tests.waiting import LONG_SECONDS

PEM, DER = serialization.Encoding.PEM, serialization.Encoding.DER


@pytest.fixture(scope="module")
def alice() -> Identity:
    return generate_identity()


@pytest.fixture(scope="module")
def certificate(alice: Identity) -> bytes:
    return alice.certify(new_key())


def carried(certificate: bytes) -> tuple[PublicIdentity, bytes]:
    """What a reader that checks nothing takes for the identity, and the whole value."""
    extensions = x509.load_pem_x509_certificate(certificate).extensions
    extension = extensions.get_extension_for_oid(x509.ObjectIdentifier(OID)).value
    assert isinstance(extension, x509.UnrecognizedExtension)
    value = extension.value
    return PublicIdentity.from_bytes(value[3:131]), value


def pem_of(der: bytes) -> bytes:
    body = base64.encodebytes(der).decode()
    return f"-----BEGIN CERTIFICATE-----\n{body}-----END CERTIFICATE-----\n".encode()


def spki(key: bytes) -> bytes:
    public = serialization.load_pem_private_key(key, None).public_key()
    return public.public_bytes(DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def test_a_certificate_names_the_identity_that_made_it(alice: Identity, certificate: bytes) -> None:
    assert PublicIdentity.from_certificate(certificate) == alice.public
    assert carried(certificate)[0] == alice.public


def test_anothers_identity_beside_ones_own_tls_key(alice: Identity, certificate: bytes) -> None:
    """Mallory would get uploads meant for alice through his connection."""
    stolen, value = carried(certificate)
    planted = certify(new_key(), "mallory", extension=lambda _: (OID, value))
    assert carried(planted)[0] == stolen == alice.public
    with pytest.raises(AuthenticationError):
        PublicIdentity.from_certificate(planted)


def test_ones_own_identity_beside_anothers_tls_key() -> None:
    """Mallory would be on the roster with the connection that all know as alice's."""
    hers, his, mallory = new_key(), new_key(), generate_identity()
    signed = mallory.sign(b"privfed/1/certificate key\x00" + spki(hers))
    value = b"\x04\x81\xc0" + mallory.public.to_bytes() + signed
    owner = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "alice")])
    signing = serialization.load_pem_private_key(his, None)
    assert isinstance(signing, ec.EllipticCurvePrivateKey)
    model = x509.load_pem_x509_certificate(certify(hers, "alice"))
    planted = (
        x509.CertificateBuilder(owner, owner, model.public_key(), model.serial_number)
        .not_valid_before(model.not_valid_before_utc)
        .not_valid_after(model.not_valid_after_utc)
        .add_extension(x509.UnrecognizedExtension(x509.ObjectIdentifier(OID), value), False)
        .sign(signing, hashes.SHA256())
        .public_bytes(PEM)
    )
    assert carried(planted)[0] == mallory.public
    mallory.public.verify(signed, b"privfed/1/certificate key\x00" + spki(hers))
    with pytest.raises(AuthenticationError, match="own key"):
        PublicIdentity.from_certificate(planted)


def bound(value: bytes, _: bytes) -> tuple[str, bytes]:
    return OID, value


def test_a_signature_of_something_else_binds_nothing(alice: Identity) -> None:
    key = new_key()
    for message in (spki(key), b"privfed/1/mask key\x00" + spki(key)):
        value = b"\x04\x81\xc0" + alice.public.to_bytes() + alice.sign(message)
        planted = certify(key, "alice", extension=partial(bound, value))
        with pytest.raises(AuthenticationError):
            PublicIdentity.from_certificate(planted)


def test_a_certificate_without_an_identity_says_what_to_do(tmp_path: Path) -> None:
    create_identity(tmp_path / "alice", unlocked=True)
    with pytest.raises(DecodeError, match=r"`Keyring\.certify`"):
        PublicIdentity.from_certificate((tmp_path / "alice.crt").read_bytes())


def test_altered_certificates(alice: Identity, certificate: bytes) -> None:
    whole = x509.load_pem_x509_certificate(certificate).public_bytes(DER)
    for place in range(len(whole)):
        bad = whole[:place] + bytes([whole[place] ^ 0x11]) + whole[place + 1 :]
        with pytest.raises((DecodeError, AuthenticationError)):
            PublicIdentity.from_certificate(pem_of(bad))
    for bad in (b"", b"x", certificate[:-40], certificate * 2):
        with pytest.raises(DecodeError):
            PublicIdentity.from_certificate(bad)


def test_only_a_p256_key_is_certified(alice: Identity) -> None:
    other = ec.generate_private_key(ec.SECP384R1()).private_bytes(
        PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    for key, days, why in ((other, 1, "P-256"), (b"x", 1, "private key"), (new_key(), 0, "day")):
        with pytest.raises(ConfigError, match=why):
            alice.certify(key, days)


# In a keyring.


def test_one_ceremony_makes_what_aggregation_and_psi_need(tmp_path: Path) -> None:
    ring = Keyring.create(tmp_path / "ring", unlocked=True)
    assert (tmp_path / "ring" / "tls.key").stat().st_mode & 0o077 == 0
    pair = psi.network.certificates.TLSIdentity.load(tmp_path / "ring")
    assert pair.certificate == ring.certificate
    assert PublicIdentity.from_certificate(pair.certificate) == ring.identity.public


def test_a_renewed_certificate_is_of_the_same_identity_and_key(tmp_path: Path) -> None:
    ring = Keyring.create(tmp_path / "ring", days=1, unlocked=True)
    before, key = ring.certificate, (tmp_path / "ring" / "tls.key").read_bytes()
    after = ring.certify(days=2)
    assert fingerprint(after) != fingerprint(before)
    assert ring.certificate == after
    assert PublicIdentity.from_certificate(after) == PublicIdentity.from_certificate(before)
    assert (tmp_path / "ring" / "tls.key").read_bytes() == key
    psi.network.certificates.TLSIdentity.load(tmp_path / "ring")


def test_a_keyring_without_a_certificate_works_and_gets_one(tmp_path: Path) -> None:
    folder = tmp_path / "ring"
    identity = Keyring.create(folder, unlocked=True).identity
    for name in ("tls.key", "tls.crt"):
        (folder / name).unlink()
    ring = Keyring(folder)
    with pytest.raises(ConfigError, match=r"`Keyring\.certify`"):
        _ = ring.certificate
    with pytest.raises(ConfigError, match=r"`Keyring\.certify` goes on"):
        Keyring.create(folder, unlocked=True)
    assert PublicIdentity.from_certificate(ring.certify()) == identity.public
    psi.network.certificates.TLSIdentity.load(folder)


def test_a_pair_that_psi_made_before_is_tied_to_the_identity(tmp_path: Path) -> None:
    folder = tmp_path / "ring"
    ring = Keyring.create(folder, unlocked=True)
    for name in ("tls.key", "tls.crt"):
        (folder / name).unlink()
    create_identity(folder / "tls", unlocked=True)
    key = (folder / "tls.key").read_bytes()
    with pytest.raises(ConfigError, match="not tied"):
        _ = ring.certificate
    ring.certify()
    assert (folder / "tls.key").read_bytes() == key
    assert psi.network.certificates.TLSIdentity.load(folder).certificate == ring.certificate


def test_another_partys_certificate_is_not_shown_as_ones_own(tmp_path: Path) -> None:
    ring, other = (Keyring.create(tmp_path / name, unlocked=True) for name in "ab")
    (tmp_path / "a" / "tls.crt").write_bytes(other.certificate)
    with pytest.raises(ConfigError, match="not tied"):
        _ = ring.certificate


@pytest.mark.parametrize("found", [False, True])
def test_a_passphrase_locks_the_tls_key_as_well(tmp_path: Path, found: bool) -> None:
    folder = tmp_path / "ring"
    if found:  # a key in the clear that was there before
        folder.mkdir(mode=0o700)
        create_identity(folder / "tls", unlocked=True)
    Keyring.create(folder, "correct horse")
    for name in ("tls.key", "identity.key"):
        assert (folder / name).read_bytes().startswith(b"PFSECRET\x01\x01")
        assert (folder / name).stat().st_mode & 0o077 == 0
    pair = psi.network.certificates.TLSIdentity.load(folder, "correct horse")
    assert b"BEGIN PRIVATE KEY" in pair.key
    for wrong in (None, "wrong"):
        with pytest.raises(psi.ConfigError, match="passphrase"):
            psi.network.certificates.TLSIdentity.load(folder, wrong)


# The commands.


def test_the_commands_show_one_fingerprint(tmp_path: Path) -> None:
    folder = tmp_path / "ring"
    made = run_keys("identity", folder, "--unlocked")
    printed = fingerprint((folder / "tls.crt").read_bytes())
    assert printed in made
    assert printed in run_keys("show", folder)
    assert printed in run_keys("check", folder / "tls.crt")
    old = tmp_path / "old.crt"
    old.write_bytes((folder / "tls.crt").read_bytes())
    assert printed not in run_keys("certify", folder, "--days", "30")
    assert "no fingerprint" in run_keys("check", folder / "tls.crt", "--known", old)
    run_keys("identity", tmp_path / "other", "--unlocked")
    with pytest.raises(AuthenticationError, match="another party"):
        run_keys("check", tmp_path / "other" / "tls.crt", "--known", old)


def test_show_of_a_keyring_without_a_certificate(tmp_path: Path) -> None:
    ring = Keyring.create(tmp_path / "ring", unlocked=True)
    (tmp_path / "ring" / "tls.crt").unlink()
    shown = run_keys("show", tmp_path / "ring")
    assert ring.identity.public.id in shown
    assert "privfed keys certify" in shown


def test_a_session_of_psi_between_two_keyrings(tmp_path: Path) -> None:
    """Two processes over TLS, each with its keyring's folder, one of them locked."""
    words = tmp_path / "words"
    words.write_text("correct horse\n")
    (tmp_path / "a.csv").write_text("ID\n1\n2\n3\n")
    (tmp_path / "b.csv").write_text("ID\n3\n4\n1\n")
    run_keys("identity", tmp_path / "alice", "--passphrase-file", words)
    run_keys("identity", tmp_path / "bob", "--unlocked")

    def start(*arguments: object) -> subprocess.Popen[str]:
        call = [sys.executable, "-c", "import psi.cli; psi.cli.main()", *map(str, arguments)]
        return subprocess.Popen(
            call, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    serving = start(
        *("serve", "a.csv", "--on", "ID", "--identity", "alice", "--passphrase-file", words),
        *("--peer", "bob/tls.crt", "--listen", "127.0.0.1:0", "--out", "alice.csv"),
    )
    try:
        assert serving.stderr
        listening = serving.stderr.readline()
        port = re.fullmatch(r"listening on port (\d+)\n", listening)
        assert port, listening
        joining = start(
            *("join", "b.csv", f"127.0.0.1:{port[1]}", "--on", "ID", "--identity", "bob"),
            *("--peer", "alice/tls.crt", "--wait", str(LONG_SECONDS), "--out", "bob.csv"),
        )
        try:
            assert joining.wait(LONG_SECONDS) == 0, joining.communicate()
            assert serving.wait(LONG_SECONDS) == 0, serving.communicate()
        finally:
            joining.kill()
            joining.communicate()
    finally:
        serving.kill()
        serving.communicate()
    rows = (tmp_path / "alice.csv").read_text()
    assert sorted(rows.split()) == ["1", "3", "ID"]
    assert (tmp_path / "bob.csv").read_text() == rows
