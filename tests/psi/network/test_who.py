"""The peer is who it should be, by command: each reason why it is not has a line of its own."""

import contextlib
import datetime
import socket
import threading
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

import psi.network.certificates as certificates
from psi import ConfigError
from psi.defaults import RELEASE
from psi.network.certificates import (
    TLSIdentity,
    check_fingerprint,
    fingerprint,
    load_certificate,
    plain_fingerprint,
)
from tests.psi.companies import Companies, companies, ended, identities, said

AT_BOBS_CLOCK = """
import datetime, types, psi.network.certificates as c
real = c.datetime
class Moved:
    now = staticmethod(lambda zone=None: real.datetime.now(zone) + real.timedelta(days={days}))
c.datetime = types.SimpleNamespace(datetime=Moved, timedelta=real.timedelta, UTC=real.UTC)
"""
ANOTHER_RELEASE = """
import psi.network.greeting as g; g.RELEASE = "9.9.9"
import msgspec, psi.sessions.pair as pair
class Terms(pair.PairTerms, frozen=True, kw_only=True, forbid_unknown_fields=True):
    mood: str = "visit evil.example"
pair.PairTerms = Terms
"""


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return identities(tmp_path_factory.mktemp("keys"))


@pytest.fixture
def place(tmp_path: Path, keys: Path) -> Iterator[Companies]:
    with companies(tmp_path, keys) as here:
        yield here


def refused(place: Companies, *arguments: object) -> str:
    """The only line of a command that does not begin."""
    code, out, err = place.here(*arguments)
    assert (code, out, err.count("\n")) == (2, "", 1), err
    return err.removeprefix("psi: ").removesuffix("\n")


def renewed(place: Companies, name: str, days: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give a company another certificate of its key: a year, from so many days from now."""

    class Moved:
        @staticmethod
        def now(zone: datetime.tzinfo | None = None) -> datetime.datetime:
            return datetime.datetime.now(zone) + datetime.timedelta(days=days)

    moved = types.SimpleNamespace(datetime=Moved, timedelta=datetime.timedelta, UTC=datetime.UTC)
    key = (place.folder / f"{name}.key").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(certificates, "datetime", moved)
        made = certificates.certify(key, name)
    (place.folder / f"{name}.crt").write_bytes(made)


SERVE = "serve", "alice.csv", "--on", "ID", "--identity", "alice", "--rows"
JOIN = "--on", "ID", "--identity", "bob", "--peer", "alice.crt"


def test_a_fingerprint_from_the_telephone_lets_the_session_begin(place: Companies) -> None:
    typed = [fingerprint((place.folder / f"{name}.crt").read_bytes()) for name in ("bob", "alice")]
    there = place.serve("--rows", "--peer-fingerprint", typed[0].upper().replace(":", " "))
    joining = place.join(
        there.address, "--rows", "--peer-fingerprint", f"SHA-256 {typed[1].replace(':', '')}"
    )
    assert ended(joining)[0] == ended(there.process)[0] == 0


def test_another_certificate_than_the_telephone_said(place: Companies) -> None:
    said_by_bob = fingerprint((place.folder / "bob.crt").read_bytes())
    (place.folder / "bob.crt").write_bytes((place.folder / "carol.crt").read_bytes())
    there = fingerprint((place.folder / "carol.crt").read_bytes())
    words = refused(place, *SERVE, "--peer", "bob.crt", "--peer-fingerprint", said_by_bob)
    assert words == (
        f"bob.crt has another fingerprint than the one that was given, {there}: somebody may have "
        "changed it on the way; ask the other side for its certificate again"
    )
    for arguments in (
        ("join", "bob.csv", "localhost:1", *SERVE[2:], "--peer", "carol.crt"),
        ("health", "localhost:1", "--identity", "alice", "--peer", "carol.crt"),
    ):
        words = refused(place, *arguments, "--peer-fingerprint", said_by_bob)
        assert words.startswith("carol.crt has another fingerprint")


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (["ab:cd:ef:01"], "no whole fingerprint, it has 8 digits of 64: type all of it"),
        ([":".join(["ab"] * 33)], "it has 66 digits of 64"),
        (["xy" * 32], "other characters than hexadecimal digits"),
        ([""], "it has 0 digits of 64"),
        (["ab" * 32, "cd" * 32], "--peer-fingerprint is given 2 times for 1 certificates"),
    ],
)
def test_what_is_no_whole_fingerprint(place: Companies, typed: list[str], words: str) -> None:
    given = [word for each in typed for word in ("--peer-fingerprint", each)]
    assert words in refused(place, *SERVE, "--peer", "bob.crt", *given)


def test_a_fingerprint_alone_is_not_enough(place: Companies) -> None:
    words = refused(place, *SERVE, "--peer-fingerprint", "ab" * 32)
    assert words == (
        "give the other side's certificate with --peer (its fingerprint alone is not enough: TLS "
        "needs all of it)"
    )
    assert refused(place, *SERVE) == "give the other side's certificate with --peer"


def test_fingerprints_of_several_peers_come_in_any_order(place: Companies) -> None:
    typed = [fingerprint((place.folder / f"{name}.crt").read_bytes()) for name in ("carol", "bob")]
    given = [word for each in typed for word in ("--peer-fingerprint", each)]
    there = place.serve("--keep", "--out", "a.csv", *given, peers=("bob", "carol"))
    assert there.process.poll() is None
    words = refused(
        place, *SERVE, "--keep", "--peer", "bob.crt", "--peer", "alice.crt", "--out", "x", *given
    )
    assert words.startswith("alice.crt has another fingerprint")


@pytest.mark.parametrize("cut", range(64))
def test_no_part_of_a_fingerprint_is_taken_for_all_of_it(keys: Path, cut: int) -> None:
    certificate = load_certificate(keys / "bob.crt")
    whole = plain_fingerprint(fingerprint(certificate))
    with pytest.raises(ConfigError, match="no whole fingerprint"):
        check_fingerprint(certificate, whole[:cut], "bob.crt")
    other = whole[:cut] + ("0" if whole[cut] != "0" else "1") + whole[cut + 1 :]
    with pytest.raises(ConfigError, match="another fingerprint"):
        check_fingerprint(certificate, other, "bob.crt")
    check_fingerprint(certificate, f" sha-256 {whole[:cut]} {whole[cut:].upper()}", "bob.crt")


def test_arguments_in_the_wrong_order(place: Companies) -> None:
    words = refused(place, "join", "alice.example:7787", "bob.csv", *JOIN)
    assert words == ("the table comes first, then HOST:PORT: psi join bob.csv alice.example:7787")
    words = refused(place, "join", "[2001:db8::1]:7787", "bob.csv", *JOIN)
    assert "the table comes first" in words
    (place.folder / "parties.toml").write_text("")
    together = "--on", "ID", "--identity", "alice"
    words = refused(place, "together", "parties.toml", "alice.csv", *together)
    assert words == "the table comes first: psi together alice.csv parties.toml"


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("2001:db8::1:7787", "stands in brackets before its port: write [2001:db8::1:7787]:7787, "),
        ("::1", "stands in brackets before its port: write [::1]:7787"),
        ("alice.example", "has no port: write HOST:PORT, such as alice.example:7787"),
        ("https://alice.example:7787/", "is no HOST:PORT"),
    ],
)
def test_addresses_that_are_none(place: Companies, address: str, words: str) -> None:
    assert words in refused(place, "join", "bob.csv", address, *JOIN)
    assert words in refused(place, *SERVE, "--peer", "bob.crt", "--listen", address)
    assert words in refused(place, "health", address, "--identity", "bob")


def test_a_session_over_ipv6(place: Companies) -> None:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            pass
    except OSError:
        pytest.skip("this machine has no IPv6")
    serving = place.start(*SERVE, "--peer", "bob.crt", "--listen", "[::1]:0")
    port = said(serving, "listening").split()[-1]
    assert ended(place.join(f"[::1]:{port}", "--rows"))[0] == ended(serving)[0] == 0


@pytest.mark.parametrize("side", ["serve", "join"])
def test_certificates_out_of_date(
    place: Companies, side: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of either side, at either side: whose it is decides who is to do what."""
    commands = {
        "serve": ("alice", "bob", (*SERVE, "--peer", "bob.crt")),
        "join": ("bob", "alice", ("join", "bob.csv", "localhost:1", *JOIN)),
    }
    own, other, command = commands[side]
    good = {name: (place.folder / f"{name}.crt").read_bytes() for name in (own, other)}
    for name, days, words in (
        (own, -400, r" UTC: make a new one with psi keygen or privfed keys certify"),
        (other, -400, r" UTC: ask the other side for a new one"),
        (own, 10, r": set it right"),
        (other, 10, r": set it right, or ask the other side to"),
    ):
        renewed(place, name, days, monkeypatch)
        line = refused(place, *command)
        state = "is out of date since 20" if days < 0 else "is not valid before 20"
        assert line.startswith(f"{name}.crt {state}")
        assert line.endswith(words)
        (place.folder / f"{name}.crt").write_bytes(good[name])


@pytest.mark.parametrize(
    ("days", "words"),
    [
        (-200, "is out of date: ask for a new one"),
        (10, "is not valid yet: check the clocks of both machines"),
    ],
)
def test_a_server_s_certificate_that_ends_while_it_serves(
    place: Companies, days: int, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clocks of programs are moved, so that none sees it beforehand; TLS does."""
    renewed(place, "alice", days - (365 if days < 0 else 0), monkeypatch)
    if days < 0:
        renewed(place, "bob", -300, monkeypatch)
    moved = AT_BOBS_CLOCK.format(days=days - 30 if days < 0 else 20)
    there = place.serve("--rows", before=moved)
    code, out, err = ended(place.join(there.address, before=moved))
    assert (code, out) == (1, "")
    assert err.endswith(f"{words}\n")


def test_one_that_hangs_up_and_who_else_may_listen(place: Companies) -> None:
    there = place.serve("--rows", peers=("carol",))
    joining = place.start("join", "bob.csv", there.address, *JOIN, "--wait", "0")
    code, _, err = ended(joining)
    assert code == 1
    assert "it hangs up; check that it was given this side's certificate" in err
    web = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        with contextlib.suppress(OSError):
            while True:
                with web.accept()[0] as caller:
                    caller.recv(999)
                    caller.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    threading.Thread(target=answer, daemon=True).start()
    for address, words in (
        (f"127.0.0.1:{web.getsockname()[1]}", "does not speak TLS, so it is not the other side"),
        ("127.0.0.1:1", "nothing listens there; check the address, and that it serves"),
        ("nobody.invalid:7787", "nobody knows this host; check its name"),
    ):
        code, _, err = ended(place.start("join", "bob.csv", address, *JOIN, "--wait", "0"))
        assert (code, words in err) == (1, True), err
    web.close()


def test_another_release_is_named_at_both_sides(place: Companies) -> None:
    there = place.serve("--rows")
    code, _, err = ended(place.join(there.address, before=ANOTHER_RELEASE))
    assert code == 1
    words = "{} runs psi {}, this side {}, and they do not know each other's terms: install the "
    end = "same psi on both sides\n"
    own = RELEASE
    assert err == "psi: " + words.format("the other side", own, "9.9.9") + end
    line = said(there.process, "turned away, and waiting on")
    assert words.format("the other side", "9.9.9", own) + end in line
    assert "evil" not in line


def test_a_key_gives_secrets_for_one_purpose_each(keys: Path) -> None:
    alice, bob = (TLSIdentity.load(keys / name) for name in ("alice", "bob"))
    given = [who.derive(purpose) for who in (alice, bob) for purpose in (b"a", b"b")]
    assert len(set(given)) == 4
    assert {len(each) for each in given} == {32}
    assert alice.derive(b"a") == TLSIdentity.load(keys / "alice").derive(b"a")
