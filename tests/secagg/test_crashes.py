"""A kill or a full disk at every step of a change leaves the key before or the key after in use."""

import json
import os
import resource
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

import psi
from privfed import secagg
from privfed.errors import ConfigError
from privfed.secagg import Keyring
from privfed.secagg.ring_record import RingRecord
from psi import storage
from psi.network import certificates
from tests.secagg.crash_points import Cut, killed, refused, stepped
from tests.secagg.parties import parameters
from tests.waiting import LONG_SECONDS

SHAPES: dict[str, tuple[int, ...]] = {"w": (7, 5), "b": (5,)}


@pytest.fixture(params=[killed, refused], ids=["kill", "full disk"])
def cut(request: pytest.FixtureRequest) -> Cut:
    return cast(Cut, request.param)


def rings(folder: Path) -> list[Keyring]:
    """Two parties under their second key; the first is retired."""
    made = [Keyring.create(folder / name, unlocked=True) for name in "ab"]
    params = parameters(2, SHAPES, roster=tuple(ring.identity.public for ring in made))
    for sealed in (made[0].make(params), made[0].rotate()):
        made[1].accept(sealed[made[1].identity.public.id], params)
    return made


def usable(folder: Path, allowed: list[secagg.Parameters] | None, retired: frozenset[str]) -> str:
    """Open the ring as a fresh process does, and use it: nothing of it is left half-done."""
    ring = Keyring(folder)
    key = ring.key()
    assert (key.id.hex(), ring.params.fingerprint) == (ring.current, key.context)
    assert allowed is None or ring.params in allowed
    assert ring.retired >= retired
    assert ring.current not in ring.retired
    assert [path.name for path in (folder / "keys").iterdir()] == [f"{ring.current}.key"]
    assert not list(folder.glob("*.new"))
    ring.rotate()
    assert Keyring(folder).retired == ring.retired
    assert key.id.hex() in ring.retired
    return key.id.hex()


def test_a_rotation_is_cut_anywhere(tmp_path: Path, cut: Cut) -> None:
    seen = set()

    def prepare(folder: Path) -> tuple[Callable[[], object], Any]:
        first, _ = rings(folder)
        return first.rotate, (first.current, first.retired, first.params)

    def check(folder: Path, before: Any) -> None:
        current, retired, params = before
        in_use = usable(folder / "a", [params], retired)
        seen.add("before" if in_use == current else "after")

    stepped(cut, prepare, check, tmp_path)
    assert seen == {"before", "after"}


def test_taking_other_parameters_is_cut_anywhere(tmp_path: Path, cut: Cut) -> None:
    """The key and its parameters change together, or neither does."""
    seen = set()

    def prepare(folder: Path) -> tuple[Callable[[], object], Any]:
        first, second = rings(folder)
        other = parameters(2, SHAPES, job="other", roster=first.params.roster)
        old, sealed = second.params, first.make(other)[second.identity.public.id]

        def act() -> None:
            second.accept(sealed, other, changed=True)

        return act, (old, other, second.retired | {second.current}, second.retired, act)

    def check(folder: Path, before: Any) -> None:
        old, other, retired_after, retired, again = before
        took = RingRecord.read(folder / "b").params == other
        seen.add("after" if took else "before")
        again()  # and what was cut is done by running it again
        usable(folder / "b", [other], retired_after if took else retired)
        assert old != other

    stepped(cut, prepare, check, tmp_path)
    assert seen == {"before", "after"}


@pytest.mark.parametrize("passphrase", [None, "p"])
def test_making_a_keyring_is_cut_anywhere(tmp_path: Path, cut: Cut, passphrase: str | None) -> None:
    """There is none, and it can be made; or there is one; and no half of it serves psi."""
    seen = set()

    def prepare(folder: Path) -> tuple[Callable[[], object], Any]:
        return lambda: Keyring.create(folder, passphrase, unlocked=passphrase is None), None

    def check(folder: Path, _: object) -> None:
        psi_serves = served_by(folder, passphrase)
        try:
            ring = Keyring(folder, passphrase)
        except ConfigError:
            assert not psi_serves
            seen.add("none")
            ring = Keyring.create(folder, passphrase, unlocked=passphrase is None)
        if psi_serves:
            seen.add("whole")
            assert psi_serves == ring.certificate
        elif not (folder / "tls.crt").exists():
            seen.add("no certificate")
            ring.certify()
        assert served_by(folder, passphrase) == ring.certificate
        assert {path.name for path in folder.iterdir()} <= FILES

    stepped(cut, prepare, check, tmp_path)
    assert seen == {"none", "no certificate", "whole"}


FILES = {"identity.key", "keyring.json.lock", "keys", "tls.crt", "tls.key"}


def served_by(folder: Path, passphrase: str | None = None) -> bytes | None:
    """The certificate that psi would show for the folder, if it is whole for psi."""
    try:
        return certificates.TLSIdentity.load(folder, passphrase).certificate
    except psi.ConfigError:
        return None


@pytest.mark.parametrize("older", [False, True], ids=["renewed", "first"])
def test_certifying_is_cut_anywhere(tmp_path: Path, cut: Cut, older: bool) -> None:
    seen = set()

    def prepare(folder: Path) -> tuple[Callable[[], object], Any]:
        ring = Keyring.create(folder, unlocked=True)
        before: bytes | None = ring.certificate
        if older:
            before = None
            for name in ("tls.key", "tls.crt"):
                (folder / name).unlink()
        return ring.certify, before

    def check(folder: Path, before: Any) -> None:
        found = served_by(folder)
        seen.add("before" if found == before else "after")
        ring = Keyring(folder)
        if found is not None:
            assert found == ring.certificate
        assert served_by(folder) == found
        ring.certify()
        assert served_by(folder) == ring.certificate
        assert {path.name for path in folder.iterdir()} <= FILES

    stepped(cut, prepare, check, tmp_path, least=8)
    assert seen == {"before", "after"}


@pytest.mark.parametrize("room", [0, 1, 40, 200, 1000])
def test_a_disk_that_is_full_within_a_write(tmp_path: Path, room: int) -> None:
    """The operating system itself refuses what goes past `room` bytes of a file."""
    first, _ = rings(tmp_path)
    before = (first.current, first.retired, first.params)
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.getsignal(signal.SIGXFSZ)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
    try:
        with pytest.raises(ConfigError, match="cannot write"):
            first.rotate()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert (first.current, first.retired, first.params) == before
    usable(tmp_path / "a", [before[2]], before[1])


# Two at once.


def test_of_two_writers_on_one_folder_the_second_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = rings(tmp_path)
    writing, done = threading.Event(), threading.Event()
    write = RingRecord.write

    def slow(record: RingRecord, file: storage.Record) -> None:
        writing.set()
        assert done.wait(LONG_SECONDS)
        write(record, file)

    monkeypatch.setattr(RingRecord, "write", slow)
    maker = threading.Thread(target=first.rotate)
    maker.start()
    try:
        assert writing.wait(LONG_SECONDS)
        other = Keyring(tmp_path / "a")  # reading goes on
        for act in (other.rotate, lambda: other.make(other.params)):
            with pytest.raises(ConfigError, match="in use"):
                act()
        with pytest.raises(ConfigError, match="in use"):
            Keyring.create(tmp_path / "a", unlocked=True)
        before = other.current
    finally:
        done.set()
        maker.join()
    assert before in other.retired
    other.rotate()  # an object that read the folder before sees what was written since
    assert first.current == other.current


def test_a_keyring_of_an_earlier_privfed_says_what_to_do(tmp_path: Path) -> None:
    ring = Keyring.create(tmp_path / "a", unlocked=True)
    for name in ("params.json", "current", "retired"):
        (tmp_path / "a" / name).write_text("x")
        with pytest.raises(ConfigError, match=r"move params\.json.*keep identity\.key"):
            Keyring(tmp_path / "a")
        (tmp_path / "a" / name).unlink()
    assert Keyring(tmp_path / "a").identity.public == ring.identity.public


def test_a_record_of_before_that_names_a_missing_key_costs_no_other(tmp_path: Path) -> None:
    """Without a digest nothing says that the name is what is wrong."""
    ring, _ = rings(tmp_path)
    path, name = tmp_path / "a" / "keyring.json", ring.current
    earlier = json.loads(path.read_text()) | {"version": 1}
    del earlier["sha256"]
    path.write_text(json.dumps(earlier | {"current": "0" * 32}))
    with pytest.raises(ConfigError, match="cannot read"):
        Keyring(tmp_path / "a").key()
    path.write_text(json.dumps(earlier))
    assert Keyring(tmp_path / "a").key().id.hex() == name
    ring.rotate()  # and it is written as of now
    assert json.loads(path.read_text())["version"] == 2


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "",
        lambda text: text[:-3],
        lambda text: "[]",
        lambda text: "{}",
        lambda text: "[" * 100_000,
        lambda text: "\xff",
        lambda text: text.replace('"version": 2', '"version": 1'),
        lambda text: text.replace('"version": 2', '"version": 3'),
        lambda text: text.replace('"current": "', '"current": "x'),
        lambda text: text.replace('"retired": [', '"retired": ["x",'),
        lambda text: text.replace('"retired": [', '"retired": [[],'),
        lambda text: text.replace('"params": "', '"params": 1, "x": "'),
        lambda text: text.replace('"group": [', '"group": ["x",'),
    ],
)
def test_a_record_that_is_none(tmp_path: Path, change: Callable[[str], str]) -> None:
    rings(tmp_path)
    path = tmp_path / "a" / "keyring.json"
    path.write_text(change(path.read_text()), encoding="latin-1")
    with pytest.raises(ConfigError, match="no keyring's record"):
        Keyring(tmp_path / "a")


# Links.


def planted(tmp_path: Path, name: str) -> Path:
    """A file of the owner's, and a link to it where something is about to be written."""
    precious = tmp_path / "precious"
    precious.write_text("precious")
    (tmp_path / name).symlink_to(precious)
    return precious


@pytest.mark.parametrize("target", ["there", "missing"])
def test_no_lock_is_taken_through_a_link(tmp_path: Path, target: str) -> None:
    precious = planted(tmp_path, "state.lock")
    if target == "missing":
        precious.unlink()
    with pytest.raises(ConfigError, match="cannot use"):
        storage.Record(tmp_path / "state", refusal=ConfigError)
    assert precious.exists() == (target == "there")
    assert target == "missing" or precious.read_text() == "precious"


@pytest.mark.parametrize("hard", [False, True])
def test_nothing_is_written_through_a_link(tmp_path: Path, hard: bool) -> None:
    precious = planted(tmp_path, "state.new")
    if hard:
        (tmp_path / "state.new").unlink()
        os.link(precious, tmp_path / "state.new")
    storage.write_whole(tmp_path / "state", b"state")
    assert precious.read_text() == "precious"
    assert (tmp_path / "state").read_text() == "state"
    assert not (tmp_path / "state").is_symlink()


def test_no_secret_is_created_over_or_through_anything(tmp_path: Path) -> None:
    precious = planted(tmp_path, "key")
    with pytest.raises(ConfigError, match="never written over"):
        storage.write_new(tmp_path / "key", b"secret", refusal=ConfigError)
    assert precious.read_text() == "precious"
    assert sorted(Path(tmp_path).iterdir()) == [tmp_path / "key", precious]


def test_a_state_file_is_not_written_through_a_link(tmp_path: Path) -> None:
    params = parameters(2, SHAPES)
    planted(tmp_path, "state.lock")
    with pytest.raises(ConfigError):
        secagg.Decryptor(params, secagg.generate_keys(params), tmp_path / "state")
