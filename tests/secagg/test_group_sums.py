"""A server's sums, a group at a time: what waits, what is refused, and what it leaves behind."""

import random
import threading

import pytest

from privfed import secagg
from privfed.errors import (
    CapacityError,
    ContextMismatchError,
    DecodeError,
    QuorumError,
    ReplayError,
)
from privfed.secagg.encryptor import Encryptor
from privfed.secagg.schemes.batched import SlotsSender
from tests.secagg.parties import Round, expected_mean, identities, parameters, updates

SHAPES: dict[str, tuple[int, ...]] = {"w": (7, 5), "b": (5,)}


def job(clients: int = 9, **changes: object) -> Round:
    settings = {"max_weight": None, "adversary": "lying-server+1", "group_sizes": (3, 3, 3)}
    return Round.of(parameters(clients, SHAPES, **(settings | changes)))


def ids(parties: Round, places: range) -> tuple[str, ...]:
    return tuple(parties.params.roster[place].id for place in places)


def test_groups_that_wait_take_no_room() -> None:
    """A party of each group comes first; as many groups as a round holds still become whole."""
    parties, sent = job(max_clients=6, min_clients=3), updates(9, SHAPES)
    uploads = parties.uploads(sent)
    server = secagg.Aggregator(parties.params, 1)
    for place in (0, 3, 6, 1, 4, 2, 5):
        server.add(uploads[place])
    assert server.senders == ids(parties, range(6))
    assert server.waiting == ids(parties, range(6, 7))
    for place in (7, 8):
        with pytest.raises(CapacityError, match="max_clients=6"):
            server.add(uploads[place])
    assert server.waiting == ids(parties, range(6, 7))
    result = parties.decryptor.decrypt(server.total(), 1)
    right = expected_mean(parties.params, sent[:6])
    assert all((result.mean[name] == right[name]).all() for name in SHAPES)


def test_several_groups_in_one_message_find_room_or_are_refused_whole() -> None:
    parties = job(max_clients=6, min_clients=3)
    uploads = parties.uploads(updates(9, SHAPES))
    server = secagg.Aggregator(parties.params, 1)
    with pytest.raises(CapacityError):
        server.add(b"".join(uploads))
    assert (server.senders, server.waiting) == ((), ())
    server.add(b"".join(uploads[:6]))
    assert server.senders == ids(parties, range(6))
    assert len(parties.decryptor.decrypt(server.total(), 1).senders) == 6


@pytest.mark.parametrize("together", [False, True])
def test_parties_of_two_epochs_do_not_add(together: bool) -> None:
    """Also where both come in one message, and whoever comes first."""
    parties = job()
    uploads = parties.uploads(updates(9, SHAPES))
    late = secagg.Encryptor(parties.params, parties.key, identities(2)[1], "memory")
    started = [late.start_epoch(0)]
    started += [
        secagg.Encryptor(parties.params, parties.key, each, "memory").start_epoch(0)
        for each in (identities(3)[0], identities(3)[2])
    ]
    late.enter_epoch(started)
    other = late.encrypt(updates(1, SHAPES)[0], round_id=1)
    for first, second in ((uploads[0], other), (other, uploads[0])):
        server = secagg.Aggregator(parties.params, 1)
        if not together:
            server.add(first)
        with pytest.raises(ContextMismatchError, match="different epochs"):
            server.add(first + second if together else second)
        assert len(server.waiting) == (not together)
        assert server.senders == ()
    server = secagg.Aggregator(parties.params, 1)
    for upload in (*uploads[:1], *uploads[3:]):
        server.add(upload)
    with pytest.raises(ContextMismatchError, match="different epochs"):
        server.add(other)
    server.add(b"".join(uploads[1:3]))
    assert len(parties.decryptor.decrypt(server.total(), 1).senders) == 9


def test_where_there_are_no_masks_nobody_names_an_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a total that the server takes for good would open nowhere."""
    parties, sent = job(adversary="lying-server"), updates(9, SHAPES)
    with monkeypatch.context() as hostile:
        hostile.setattr(Encryptor, "_epoch", lambda self, agreed: b"x" * 32)
        named = parties.encryptors[8].encrypt(sent[8], round_id=1)
    server = secagg.Aggregator(parties.params, 1)
    with pytest.raises(ContextMismatchError, match="epochs"):
        server.add(named)
    for upload in parties.uploads(sent[:8]):
        server.add(upload)
    assert len(parties.decryptor.decrypt(server.total(), 1).senders) == 6


def test_a_party_is_in_one_epoch_with_all_of_its_parts() -> None:
    parties = job()
    upload = parties.uploads(updates(1, SHAPES))[0]
    server = secagg.Aggregator(parties.params, 1)
    server.add(upload)
    for again in (upload, upload + upload):
        with pytest.raises(ReplayError):
            server.add(again)
    with pytest.raises(ReplayError):
        secagg.Aggregator(parties.params, 1).add(upload + upload)
    assert server.waiting == ids(parties, range(1))


def test_what_a_scheme_refuses_leaves_a_group_as_it_was() -> None:
    """A party signs bytes that are no ciphertext in one message with an honest one's."""
    parties, sent = job(scheme="slots"), updates(9, SHAPES)
    honest = [
        party.encrypt(sent[at], round_id=1)
        for at, party in enumerate(parties.encryptors)
        if at != 2
    ]
    server = secagg.Aggregator(parties.params, 1)
    for upload in honest[:2]:
        server.add(upload)
    sound = SlotsSender.seal
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(SlotsSender, "hashed_words", lambda *_: [])
        patched.setattr(SlotsSender, "seal", lambda *given: b"\0" * len(sound(*given)))
        wrong = parties.encryptors[2].encrypt(sent[2], round_id=1)
    for data in (wrong, honest[2] + wrong, wrong + honest[2]):
        with pytest.raises(DecodeError):
            server.add(data)
    assert server.waiting == ids(parties, range(2))
    for upload in honest[2:]:
        server.add(upload)
    assert server.senders == ids(parties, range(3, 9))
    result = parties.decryptor.decrypt(server.total(), 1)
    right = expected_mean(parties.params, sent[3:])
    assert all((result.mean[name] == right[name]).all() for name in SHAPES)


@pytest.mark.parametrize("scheme", ["packed", "slots"])
def test_threads_add_each_group_once(scheme: str) -> None:
    parties, sent = job(scheme=scheme), updates(9, SHAPES)
    uploads = parties.uploads(sent)
    order = [*range(9), *range(9)]
    random.Random(3).shuffle(order)  # noqa: S311  (an order, no secret)
    server, refused = secagg.Aggregator(parties.params, 1), list[int]()

    def add(places: list[int]) -> None:
        for place in places:
            try:
                server.add(uploads[place])
            except ReplayError:
                refused.append(place)

    threads = [threading.Thread(target=add, args=(order[at::6],)) for at in range(6)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert sorted(refused) == list(range(9))
    result = parties.decryptor.decrypt(server.total(), 1)
    right = expected_mean(parties.params, sent)
    assert all((result.mean[name] == right[name]).all() for name in SHAPES)


def test_a_partial_sum_brings_whole_groups_that_nobody_of_sent() -> None:
    inner = secagg.generate_identity()
    parties = job(aggregators=(inner.public,))
    uploads = parties.uploads(updates(9, SHAPES))
    below = secagg.Aggregator(parties.params, 1, identity=inner)
    for upload in uploads[:4]:
        below.add(upload)
    partial = below.partial()  # the fourth waits
    root = secagg.Aggregator(parties.params, 1)
    root.add(uploads[0])
    with pytest.raises(ReplayError):
        root.add_partial(partial)
    assert root.senders == ()
    root = secagg.Aggregator(parties.params, 1)
    root.add_partial(partial)
    assert root.senders == ids(parties, range(3))
    for data in (uploads[0], partial):
        with pytest.raises(ReplayError):
            (root.add if data is uploads[0] else root.add_partial)(data)
    with pytest.raises(QuorumError):
        secagg.Aggregator(parties.params, 1).total()
    assert len(parties.decryptor.decrypt(root.total(), 1).senders) == 3
