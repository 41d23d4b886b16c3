"""Who recorded everything, and later gets all that the parties of a group have, opens no upload.

The adversary has the masked uploads and the messages of the epoch from before; then, after a
round, the shared key, every party's identity and every party's state. It tries each pair's key
that it finds, or makes of the identities, on each recorded upload. The faults are the two ways
in which such keys stay: mask keys that are the identities', and a ratchet that stands still.
"""

from collections.abc import Iterator
from pathlib import Path
from shutil import copyfile

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from privfed import secagg
from privfed.keys import Identity
from privfed.secagg import epochs, wire
from privfed.secagg.epochs import MaskKeys
from privfed.secagg.masks import Masks
from privfed.secagg.state import Journal
from tests.secagg.colluders import integers, messages, sent
from tests.secagg.parties import identities, parameters, updates

SHAPES: dict[str, tuple[int, ...]] = {"w": (20, 10)}
PARAMS = parameters(3, SHAPES, max_weight=None, adversary="lying-server+1")
KEY = secagg.generate_keys(PARAMS)
LAST = 4
PUBLIC = wire.PREFIX_BYTES + 2
Pairs = dict[int, bytes]


class Record:
    """A group's rounds, of which a server keeps what it sees; then the parties' files."""

    def __init__(self, folder: Path) -> None:
        self.epoch = list[bytes]()
        self.uploads = dict[tuple[int, int], bytes]()  # by round and place
        self.updates = updates(3, SHAPES)
        files = [folder / str(place) for place in range(3)]
        parties = [
            secagg.Encryptor(PARAMS, KEY, each, file)
            for each, file in zip(identities(3), files, strict=True)
        ]
        for each in parties:
            self.epoch.append(each.start_epoch(1))
        for each in parties:
            each.enter_epoch(self.epoch)
        for number in range(1, LAST + 1):
            for place, each in enumerate(parties):
                if (place, number) == (1, 2):
                    continue  # it skips one, and keeps nothing of it all the same
                data = each.encrypt(self.updates[place], round_id=number)
                self.uploads[number, place] = data
        self.stolen = []
        for each, file in zip(parties, files, strict=True):
            each.close()
            self.stolen.append(file.with_suffix(".stolen"))
            copyfile(file, self.stolen[-1])


def in_state(record: Record, place: int) -> tuple[int, Pairs]:
    """The pairs' keys that a stolen state holds, and the round that they are said to be for."""
    journal = Journal(record.stolen[place], "encryptor", PARAMS.fingerprint + KEY.id)
    keys = MaskKeys(PARAMS, KEY.id, identities(3)[place], journal)
    found = keys._epoch.next, keys._pairs(keys._epoch)
    journal.close()
    return found


def in_states(record: Record, place: int) -> Iterator[tuple[int, Pairs]]:
    """A party's pairs' keys, from its own state, and from those of the others."""
    states = [in_state(record, each) for each in range(3)]
    yield states[place]
    others = [at for at in range(3) if at != place]
    first = max(states[at][0] for at in others)
    yield (
        first,
        {at: epochs._ratcheted(states[at][1][place], first - states[at][0]) for at in others},
    )
    for number in range(1, LAST + 1):  # whatever it is said to be for
        yield number, states[place][1]


def of_identities(record: Record, place: int) -> Iterator[tuple[int, Pairs]]:
    """The pairs' keys of an epoch whose X25519 keys are those of the identities."""
    public = {at: each[PUBLIC : PUBLIC + 32] for at, each in enumerate(record.epoch)}
    keys = MaskKeys(PARAMS, KEY.id, identities(3)[place], Journal(None, "encryptor", b""))
    private, digest = secret_of(identities(3)[place]), keys._digest(1, public)
    yield (
        1,
        {at: keys._pair(private, digest, at, each) for at, each in public.items() if at != place},
    )


def secret_of(identity: Identity) -> X25519PrivateKey:
    return identity._mask


def read(record: Record) -> set[tuple[int, int]]:
    """The rounds and places of the uploads that the adversary opens."""
    found = set()
    for (number, place), upload in record.uploads.items():
        under = messages(PARAMS, KEY, upload)
        right = sent(PARAMS, record.updates[place])
        for start, pairs in (*in_states(record, place), *of_identities(record, place)):
            steps = max(0, number - start)
            at_round = {at: epochs._ratcheted(key, steps) for at, key in pairs.items()}
            prefix, modulus = upload[: wire.PREFIX_BYTES], 2**PARAMS.packing.plain_bits
            mask = Masks(place, at_round).words(prefix, len(under), modulus)
            values = integers(under - mask, PARAMS.packing)[: PARAMS.values]
            # Of 200 uniform values of 18 bits, five are right by chance in 1 of 10^17 tries.
            if (values == right).sum() >= 5:
                assert np.array_equal(values, right)
                found.add((number, place))
    return found


def test_the_identities_keys_as_mask_keys_would_open_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = iter([secret_of(each) for each in identities(3)])

    class Static(X25519PrivateKey):
        @classmethod
        def generate(cls) -> X25519PrivateKey:
            return next(taken)

    with monkeypatch.context() as planted:
        planted.setattr(epochs, "X25519PrivateKey", Static)
        record = Record(tmp_path)
    assert read(record) == set(record.uploads)


def test_a_ratchet_that_stands_still_would_open_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as planted:
        planted.setattr(MaskKeys, "after", lambda self, _: self._epoch)
        record = Record(tmp_path)
    assert read(record) == set(record.uploads)


def test_of_what_was_sent_nothing_is_opened_later(tmp_path: Path) -> None:
    record = Record(tmp_path)
    assert len(record.uploads) == 3 * LAST - 1
    assert read(record) == set()


def test_of_what_comes_later_the_thief_opens_what_he_records(tmp_path: Path) -> None:
    """The adversary's code is one: keys that are still there open the rounds to come."""
    record = Record(tmp_path)
    record.uploads.clear()
    for place in range(3):
        with secagg.Encryptor(PARAMS, KEY, identities(3)[place], tmp_path / str(place)) as party:
            update = record.updates[place]
            record.uploads[LAST + 3, place] = party.encrypt(update, round_id=LAST + 3)
    assert read(record) == set(record.uploads)


def test_who_sends_alone_is_covered_once_the_others_go_on(tmp_path: Path) -> None:
    """A limit: what a party sends while all others skip lies under keys that they still have."""
    record = Record(tmp_path)
    parties = [
        secagg.Encryptor(PARAMS, KEY, each, tmp_path / str(place))
        for place, each in enumerate(identities(3))
    ]
    alone = parties[0].encrypt(record.updates[0], round_id=LAST + 1)

    def opened_after(sending: list[int], number: int) -> set[tuple[int, int]]:
        for place in sending:
            parties[place].encrypt(record.updates[place], round_id=number)
        for place, stolen in enumerate(record.stolen):
            copyfile(tmp_path / str(place), stolen)
        record.uploads = {(LAST + 1, 0): alone}
        return read(record)

    assert opened_after([], 0) == {(LAST + 1, 0)}
    assert opened_after([2], LAST + 2) == set()  # one of them is enough


def test_a_private_key_of_an_epoch_is_in_no_file_once_it_is_entered(tmp_path: Path) -> None:
    """Nor, before that, in one that anybody but its owner reads."""
    with secagg.Party(PARAMS, KEY, identities(1)[0], tmp_path / "party") as party:
        others = [
            secagg.Encryptor(PARAMS, KEY, each, "memory").start_epoch(1)
            for each in identities(3)[1:]
        ]
        made = list[X25519PrivateKey]()
        with pytest.MonkeyPatch.context() as watched:
            watched.setattr(epochs, "X25519PrivateKey", watching(made))
            own = party.start_epoch(1)
        (private,) = made
        secret = private.private_bytes_raw()
        for step in ("started", "entered"):
            for path in (tmp_path / "party").rglob("*"):
                data = path.read_bytes()
                assert secret not in data
                assert secret.hex().encode() not in data
                assert path.stat().st_mode & 0o077 == 0
            text = (tmp_path / "party" / "rounds.json").read_text()
            assert ('"starting":null' in text.replace(" ", "")) == (step == "entered")
            if step == "started":
                party.enter_epoch([own, *others])


def watching(made: list[X25519PrivateKey]) -> type[X25519PrivateKey]:
    class Watching(X25519PrivateKey):
        @classmethod
        def generate(cls) -> X25519PrivateKey:
            made.append(X25519PrivateKey.generate())
            return made[-1]

    return Watching
