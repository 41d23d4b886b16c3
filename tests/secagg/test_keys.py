"""Keys: on disk, sealed to parties, rotated, revoked; state files; and the command."""

import json
import os
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import psi
from privfed import secagg
from privfed.errors import (
    AuthenticationError,
    ConfigError,
    ContextMismatchError,
    DecodeError,
    PrivFedError,
    QuorumError,
    ReplayError,
)
from privfed.secagg import Keyring, SecretKey, open_key, seal_key
from psi.storage import is_locked
from tests.secagg.command import run_keys
from tests.secagg.parties import Round, identities, parameters, updates

SHAPES: dict[str, tuple[int, ...]] = {"w": (7, 5), "b": (5,)}


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def params() -> secagg.Parameters:
    return parameters(3, SHAPES)


@pytest.fixture
def key(params: secagg.Parameters) -> SecretKey:
    return secagg.generate_keys(params)


# Files.


@pytest.mark.parametrize("passphrase", [None, "correct horse"])
def test_secrets_round_trip_through_files_of_mode_0600(
    tmp_path: Path, key: SecretKey, passphrase: str | None
) -> None:
    os.umask(0)
    key.save(tmp_path / "k", passphrase, unlocked=not passphrase)
    assert mode(tmp_path / "k") == 0o600
    assert SecretKey.load(tmp_path / "k", passphrase) == key
    party = secagg.generate_identity()
    party.save(tmp_path / "i", passphrase, unlocked=not passphrase)
    assert mode(tmp_path / "i") == 0o600
    again = secagg.Identity.load(tmp_path / "i", passphrase)
    assert again.public == party.public
    assert again.derive(b"test") == party.derive(b"test")
    if passphrase:
        assert key.to_bytes()[-32:] not in (tmp_path / "k").read_bytes()
        for wrong, error in (("wrong", AuthenticationError), (None, ConfigError)):
            with pytest.raises(error):
                SecretKey.load(tmp_path / "k", wrong)


def test_key_files_are_not_written_over_and_not_read_where_others_can(
    tmp_path: Path, key: SecretKey
) -> None:
    path = tmp_path / "k"
    key.save(path, unlocked=True)
    with pytest.raises(ConfigError, match="never written over"):
        key.save(path, unlocked=True)
    path.chmod(0o640)
    with pytest.raises(ConfigError, match="chmod 600"):
        SecretKey.load(path)
    with pytest.raises(ConfigError, match="cannot read"):
        SecretKey.load(tmp_path / "none")
    with pytest.raises(ConfigError, match="empty"):
        key.save(tmp_path / "other", "")


@pytest.mark.parametrize("passphrase", [None, "p"])
def test_altered_key_files(tmp_path: Path, key: SecretKey, passphrase: str | None) -> None:
    path = tmp_path / "k"
    key.save(path, passphrase, unlocked=not passphrase)
    good = path.read_bytes()
    for bad in (b"", good[:-1], good + b"\0", good[:9], b"x" + good[1:]):
        path.write_bytes(bad)
        with pytest.raises((DecodeError, AuthenticationError)):
            SecretKey.load(path, passphrase)
    if passphrase:
        for place in range(10, len(good)):
            path.write_bytes(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
            if place % 20 == 0:  # each guess costs a tenth of a second on purpose
                with pytest.raises(AuthenticationError):
                    SecretKey.load(path, passphrase)


def test_nothing_secret_is_written_in_the_clear_unless_asked(
    tmp_path: Path, key: SecretKey
) -> None:
    for write in (
        lambda **how: key.save(tmp_path / "k", **how),
        lambda **how: identities(1)[0].save(tmp_path / "i", **how),
        lambda **how: Keyring.create(tmp_path / "r", **how),
    ):
        for how, why in (
            ({}, "give a `passphrase`, or `unlocked`"),
            ({"passphrase": "p", "unlocked": True}, "not both"),
            ({"passphrase": ""}, "empty"),
            ({"passphrase": b"p"}, "text"),
            ({"unlocked": 1}, "True or False"),
        ):
            with pytest.raises(ConfigError, match=why):
                write(**how)
    assert list(tmp_path.iterdir()) == []


def test_a_keyring_stays_as_it_was_made(tmp_path: Path) -> None:
    for name, words in (("locked", "p"), ("open", None)):
        ring = Keyring.create(tmp_path / name, words, unlocked=words is None)
        ring.make(parameters(2, SHAPES, roster=(ring.identity.public, identities(1)[0].public)))
        (tmp_path / name / "tls.key").unlink()
        Keyring(tmp_path / name, words).certify()
        files = [*(tmp_path / name).glob("*.key"), *(tmp_path / name / "keys").iterdir()]
        assert len(files) == 3
        assert {is_locked(path.read_bytes()) for path in files} == {words is not None}


# Handing over.


def test_a_sealed_key_reaches_its_recipient_alone(
    params: secagg.Parameters, key: SecretKey
) -> None:
    maker, recipient, other = identities(3)
    sealed = seal_key(key, params, maker, recipient.public)
    assert key.to_bytes()[-32:] not in sealed
    opened, made_by, replaces = open_key(sealed, params, recipient, maker.public)
    assert (opened, made_by, replaces) == (key, maker.public, b"")
    with pytest.raises(ContextMismatchError, match="another party"):
        open_key(sealed, params, other)
    with pytest.raises(AuthenticationError):
        open_key(sealed, params, recipient, other.public)
    with pytest.raises(ContextMismatchError):
        open_key(sealed, replace(params, job="other"), recipient)
    with pytest.raises(ContextMismatchError):
        seal_key(key, replace(params, job="other"), maker, recipient.public)
    for place in range(0, len(sealed), 5):
        altered = bytearray(sealed)
        altered[place] ^= 4
        with pytest.raises((DecodeError, ContextMismatchError, AuthenticationError)):
            open_key(bytes(altered), params, recipient)
    for bad in (b"", sealed[:-1], sealed + b"\0", sealed[:70]):
        with pytest.raises((DecodeError, AuthenticationError)):
            open_key(bad, params, recipient)


@pytest.fixture
def rings(tmp_path: Path) -> list[Keyring]:
    return [
        Keyring.create(
            tmp_path / name, **({"passphrase": "p"} if name == "a" else {"unlocked": True})
        )
        for name in "abc"
    ]


def ring_params(rings: list[Keyring], **changes: Any) -> secagg.Parameters:
    return parameters(
        len(rings),
        SHAPES,
        roster=tuple(ring.identity.public for ring in rings),
        **changes,
    )


def share(
    maker: Keyring, rings: list[Keyring], sealed: dict[str, bytes], params: secagg.Parameters
) -> None:
    for ring in rings:
        if ring is not maker:
            ring.accept(sealed[ring.identity.public.id], params, maker.identity.public)


def run_round(
    params: secagg.Parameters, rings: list[Keyring], round_id: int = 1
) -> list[secagg.MeanResult]:
    aggregator = secagg.Aggregator(params, round_id)
    for ring, update in zip(rings, updates(len(rings), SHAPES), strict=True):
        encryptor = secagg.Encryptor(params, ring.key(), ring.identity, "memory")
        aggregator.add(encryptor.encrypt(update, weight=1, round_id=round_id))
    total = aggregator.total()
    return [
        secagg.Decryptor(params, ring.key(), "memory").decrypt(total, round_id) for ring in rings
    ]


def test_a_job_from_its_first_to_its_last_key(tmp_path: Path, rings: list[Keyring]) -> None:
    first, second, third = rings
    params = ring_params(rings)
    with pytest.raises(ConfigError, match="no key"):
        first.key()
    share(first, rings, first.make(params), params)
    assert len({ring.current for ring in rings}) == 1
    assert len(run_round(params, rings)[0].senders) == 3
    old = second.key()

    share(second, rings, second.rotate(), params)  # any party may
    assert len({ring.current for ring in rings}) == 1
    assert third.key() != old
    assert all(old.id.hex() in ring.retired for ring in rings)
    assert not (tmp_path / "c" / "keys" / f"{old.id.hex()}.key").exists()
    run_round(params, rings)

    changed, sealed = first.revoke(third.identity.public.id)
    assert third.identity.public.id not in sealed
    share(first, rings[:2], sealed, changed)
    assert [ring.params.max_clients for ring in rings[:2]] == [2, 2]
    run_round(changed, rings[:2])
    # What the revoked party still has is worth nothing to the others.
    stale = secagg.Encryptor(params, third.key(), third.identity, "memory")
    message = stale.encrypt(updates(1, SHAPES)[0], weight=1, round_id=1)
    with pytest.raises(ContextMismatchError):
        secagg.Aggregator(changed, 1).add(message)
    with pytest.raises(ContextMismatchError):
        secagg.Encryptor(changed, third.key(), third.identity, "memory")
    # And a keyring opened again knows all of it.
    again = Keyring(tmp_path / "a", "p")
    assert again.current == second.current
    assert again.params == changed
    assert mode(tmp_path / "a" / "keys" / f"{again.current}.key") == 0o600


def test_a_retired_key_does_not_come_back(rings: list[Keyring]) -> None:
    first, second, _ = rings
    params = ring_params(rings)
    old = first.make(params)[second.identity.public.id]
    second.accept(old, params)
    second.accept(first.rotate()[second.identity.public.id], params)
    with pytest.raises(ContextMismatchError, match="retired"):
        second.accept(old, params)


def test_a_stranger_with_a_roster_of_its_own_hands_over_no_key(
    tmp_path: Path, rings: list[Keyring]
) -> None:
    first, second, _ = rings
    params = ring_params(rings)
    second.accept(first.make(params)[second.identity.public.id], params)
    stranger = Keyring.create(tmp_path / "s", unlocked=True)
    theirs = ring_params([stranger, second, first])
    sealed = stranger.make(theirs)[second.identity.public.id]
    with pytest.raises(AuthenticationError, match="outside the roster"):
        second.accept(sealed, theirs)
    assert second.params == params


def test_revocations_that_cannot_be(rings: list[Keyring]) -> None:
    first, _, third = rings
    params = ring_params(rings, min_clients=3)
    first.make(params)
    for party, why in (
        (third.identity.public.id, "too few|min_clients"),
        (first.identity.public.id, "itself"),
        ("nobody", "not on the roster"),
    ):
        with pytest.raises(ConfigError, match=why):
            first.revoke(party)
    assert first.params == params


def test_of_two_that_each_made_the_first_key_both_are_told(rings: list[Keyring]) -> None:
    first, second, third = rings
    params = ring_params(rings)
    ids = [ring.identity.public.id for ring in rings]
    ours, theirs = first.make(params), second.make(params)
    with pytest.raises(ContextMismatchError, match=r"made the first key at once.*accept"):
        second.accept(ours[ids[1]], params)
    with pytest.raises(ContextMismatchError, match="at once"):
        first.accept(theirs[ids[0]], params)
    third.accept(ours[ids[2]], params)
    with pytest.raises(ContextMismatchError, match="at once"):
        third.accept(theirs[ids[2]], params)
    gone = second.current
    second.accept(ours[ids[1]], params, changed=True)  # they agreed on the first one's
    assert len({ring.current for ring in rings}) == 1
    assert gone in second.retired
    run_round(params, rings)


def test_of_two_that_rotate_at_once_both_are_told(rings: list[Keyring]) -> None:
    first, second, _ = rings
    params = ring_params(rings)
    ids = [ring.identity.public.id for ring in rings]
    share(first, rings, first.make(params), params)
    ours, theirs = first.rotate(), second.rotate()
    for changed in (False, True):
        with pytest.raises(ContextMismatchError, match="at once; then one rotates again"):
            second.accept(ours[ids[1]], params, changed=changed)
        with pytest.raises(ContextMismatchError, match="at once"):
            first.accept(theirs[ids[0]], params, changed=changed)
    share(first, rings, first.rotate(), params)
    assert len({ring.current for ring in rings}) == 1
    run_round(params, rings)


# State.


def test_a_restarted_decryptor_remembers(tmp_path: Path, params: secagg.Parameters) -> None:
    parties, path = Round.of(params), tmp_path / "state"
    sent = updates(3, SHAPES)
    total = parties.total(parties.uploads(sent, [1, 2, 3], 4), 4)
    decryptor = secagg.Decryptor(params, parties.key, state=path)
    with pytest.raises(ConfigError, match="in use"):
        secagg.Decryptor(params, parties.key, state=path)
    transcript = decryptor.decrypt(total, 4).transcript
    del decryptor
    again = secagg.Decryptor(params, parties.key, state=path)
    with pytest.raises(ReplayError):
        again.decrypt(total, 4)
    if params.assumed.lies:
        uploads = parties.uploads(sent, [1, 2, 3], 5, previous=bytes(31) + b"x")
        with pytest.raises(ContextMismatchError, match="history"):
            again.decrypt(parties.total(uploads, 5), 5)
    uploads = parties.uploads(sent, [1, 2, 3], 6, previous=transcript)
    again.decrypt(parties.total(uploads, 6), 6)


def test_a_process_that_dies_while_decrypting_uses_the_round_up_for_any_other_total(
    tmp_path: Path, params: secagg.Parameters
) -> None:
    parties, path = Round.of(params), tmp_path / "state"
    uploads = parties.uploads(updates(3, SHAPES), [1, 2, 3])
    total, other = parties.total(uploads), parties.total(uploads[:2])
    child = os.fork()
    if child == 0:
        decryptor = secagg.Decryptor(params, parties.key, state=path)
        decryptor._quantizer.mean = lambda *_: os._exit(0)  # type: ignore[method-assign]  # noqa: SLF001  (a kill)
        decryptor.decrypt(total, 1)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    with secagg.Decryptor(params, parties.key, state=path) as next_process:
        with pytest.raises(ReplayError):
            next_process.decrypt(other, 1)
        with pytest.raises(ReplayError):
            next_process.decrypt([total], 1)
        assert next_process.decrypt(total, 1).total_weight == 6
        with pytest.raises(ReplayError):
            next_process.decrypt(total, 1)


def test_failures_survive_a_restart_and_retire_the_key(
    tmp_path: Path, params: secagg.Parameters
) -> None:
    parties, path = Round.of(params), tmp_path / "state"
    for round_id in (1, 2, 3):
        uploads = parties.uploads(updates(3, SHAPES), [1, 2, 3], round_id)
        total = bytearray(parties.total(uploads, round_id))
        total[-1] ^= 0x55
        with pytest.raises(AuthenticationError, match="decrypt"):
            secagg.Decryptor(params, parties.key, state=path).decrypt(bytes(total), round_id)
    with pytest.raises(AuthenticationError, match="retired"):
        secagg.Decryptor(params, parties.key, state=path).decrypt(bytes(total), 4)


def test_a_restarted_encryptor_remembers(
    tmp_path: Path, params: secagg.Parameters, key: SecretKey
) -> None:
    path, update = tmp_path / "state", updates(1, SHAPES)[0]
    encryptor = secagg.Encryptor(params, key, identities(1)[0], state=path)
    encryptor.encrypt(update, weight=1, round_id=7)
    del encryptor
    again = secagg.Encryptor(params, key, identities(1)[0], state=path)
    for round_id in (7, 3):
        with pytest.raises(ReplayError):
            again.encrypt(update, weight=1, round_id=round_id)
    again.encrypt(update, weight=1, round_id=8)


def test_state_of_something_else(tmp_path: Path, params: secagg.Parameters, key: SecretKey) -> None:
    path = tmp_path / "state"
    secagg.Decryptor(params, key, state=path)
    with pytest.raises(ConfigError, match="another key or role"):
        secagg.Encryptor(params, key, identities(1)[0], state=path)
    with pytest.raises(ConfigError, match="another key or role"):
        secagg.Decryptor(params, secagg.generate_keys(params), state=path)
    good = json.loads(path.read_text())
    for bad in ("", "[]", "{}", json.dumps({**good, "last_round": "1"}), "\xff"):
        path.write_text(bad, encoding="latin-1")
        with pytest.raises(ConfigError):
            secagg.Decryptor(params, key, state=path)
    with pytest.raises(ConfigError, match="cannot"):
        secagg.Decryptor(params, key, state=tmp_path / "none" / "state")


# The command.


def run(*arguments: object) -> list[str]:
    return run_keys(*arguments).split()


def party_of(folder: Path, *more: object) -> secagg.PublicIdentity:
    """Make a keyring by the command, and read the identity off the one file that is handed on."""
    run("identity", folder, *more)
    return secagg.PublicIdentity.from_certificate((folder / "tls.crt").read_bytes())


def test_the_command_from_identities_to_revocation(tmp_path: Path) -> None:
    words = tmp_path / "words"
    words.write_text("correct horse\n")
    publics = [
        party_of(tmp_path / name, *more)
        for name, more in (
            ("a", ["--passphrase-file", words]),
            ("b", ["--unlocked"]),
            ("c", ["--unlocked"]),
        )
    ]
    params = parameters(3, SHAPES, roster=tuple(publics))
    (tmp_path / "params").write_bytes(params.to_bytes())
    ids = [public.id for public in publics]
    made = run(
        "make", tmp_path / "a", "--params", tmp_path / "params", "--out", tmp_path / "out",
        "--passphrase-file", words,
    )  # fmt: skip
    for name, party in zip("bc", ids[1:], strict=True):
        accepted = run(
            "accept", tmp_path / name, tmp_path / "out" / f"{party}.sealed",
            "--params", tmp_path / "params", "--maker", ids[0],
        )  # fmt: skip
        assert accepted[-1] == made[-1]
    rotated = run("rotate", tmp_path / "b", "--out", tmp_path / "out2")
    assert rotated[-1] != made[-1]
    run(
        "accept", tmp_path / "a", tmp_path / "out2" / f"{ids[0]}.sealed",
        "--params", tmp_path / "params", "--passphrase-file", words,
    )  # fmt: skip
    run(
        "revoke", tmp_path / "b", "--party", ids[2], "--params-out", tmp_path / "params2",
        "--out", tmp_path / "out3",
    )  # fmt: skip
    assert [path.name for path in (tmp_path / "out3").iterdir()] == [f"{ids[0]}.sealed"]
    shown = run("show", tmp_path / "b")
    assert shown.count("retired") == 2
    secret = Keyring(tmp_path / "b").key().to_bytes()[-32:].hex()
    assert secret not in " ".join(shown)
    changed = secagg.Parameters.from_bytes((tmp_path / "params2").read_bytes())
    assert [party.id for party in changed.roster] == ids[:2]


def test_the_command_says_where_the_server_is_trusted(tmp_path: Path) -> None:
    ring = Keyring.create(tmp_path / "a", unlocked=True)
    roster = (ring.identity.public, identities(1)[0].public)
    ring.make(parameters(2, SHAPES, roster=roster))

    def shown() -> str:
        return " ".join(run("show", tmp_path / "a"))

    assert "a server that lies may compare rounds" in shown()
    ring.make(parameters(2, SHAPES, roster=roster, scheme="ckks"))
    assert "a server that lies may learn the key" in shown()
    ring.make(parameters(2, SHAPES, roster=roster, adversary="lying-server"))
    assert "against lying-server key" in shown().replace(
        f"group {roster[0].id}, {roster[1].id} ", ""
    )
    assert f"group {roster[0].id}, {roster[1].id} " in shown()


def test_the_command_makes_no_key_that_it_cannot_hand_out(tmp_path: Path) -> None:
    ring = Keyring.create(tmp_path / "a", unlocked=True)
    params = parameters(2, SHAPES, roster=(ring.identity.public, identities(1)[0].public))
    ring.make(params)
    (tmp_path / "file").touch()
    (tmp_path / "params").write_bytes(params.to_bytes())
    before, out = ring.current, ("--out", tmp_path / "file")
    other = ("--party", params.roster[1].id, "--params-out", tmp_path / "params2")
    for arguments in (
        ("rotate", tmp_path / "a", *out),
        ("make", tmp_path / "a", "--params", tmp_path / "params", *out),
        ("revoke", tmp_path / "a", *other, *out),
    ):
        with pytest.raises(ConfigError, match="cannot write"):
            run(*arguments)
    assert ring.current == before


def test_sealed_keys_are_replaced_only_by_force_and_no_key_is_made_in_vain(tmp_path: Path) -> None:
    publics = [party_of(tmp_path / name, "--unlocked") for name in "ab"]
    params, out = tmp_path / "params", tmp_path / "out"
    params.write_bytes(parameters(2, SHAPES, roster=tuple(publics)).to_bytes())
    made = run("make", tmp_path / "a", "--params", params, "--out", out)
    sealed = out / f"{publics[1].id}.sealed"
    sealed.chmod(0o600)
    before = sealed.read_bytes()
    for again in (["make", tmp_path / "a", "--params", params], ["rotate", tmp_path / "a"]):
        with pytest.raises(psi.ConfigError, match="replace it by replace=True"):
            run(*again, "--out", out)
        with pytest.raises(PrivFedError, match="cannot write"):
            run(*again, "--out", params)
    assert sealed.read_bytes() == before
    assert made[-1] in run("show", tmp_path / "a")[-1]  # the key in use is the one handed out
    run("rotate", tmp_path / "a", "--out", out, "--force")
    assert sealed.read_bytes() != before
    assert mode(sealed) == 0o600


@pytest.mark.parametrize(
    "arguments",
    [
        ["show", "none"],
        ["make", "none", "--params", "none", "--out", "x"],
        ["identity", "d", "--passphrase-file", "none"],
        ["identity", "d"],
        ["identity", "d", "--unlocked", "--passphrase-file", "none"],
        ["show", "locked"],
        ["rotate", "ring", "--out", "x"],
        ["make", "ring", "--params", "ring/tls.crt", "--out", "x"],
        ["accept", "ring", "none", "--params", "none"],
    ],
)
def test_the_commands_bad_input_is_a_named_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    run("identity", "ring", "--unlocked")
    Keyring.create(tmp_path / "locked", "p")
    with pytest.raises(PrivFedError) as caught:
        run(*arguments)
    assert "\n" not in str(caught.value)
    assert not isinstance(caught.value, QuorumError)
