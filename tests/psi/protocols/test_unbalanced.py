"""A small set against a saved large one: results, one key, limits that hold, hostile peers."""

import functools
import hashlib
import pickle
import shutil
import stat
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from psi import (
    ConfigError,
    DecodeError,
    InvalidPointError,
    KeyConfirmationError,
    ParameterMismatchError,
    ProtocolError,
    QueryLimitError,
    RepeatedElementError,
    SessionParameters,
    StateError,
    TagStore,
    UnbalancedReceiver,
    UnbalancedSender,
)
from psi.group.ristretto255 import multiply_base
from psi.protocols.elements import TAG_BYTES
from psi.protocols.unbalanced import MAX_REQUEST
from psi.sessions.tagstore import _KEPT, read_kept, write_kept
from tests.psi.peers import (
    BAD_POINTS,
    MAC_BYTES,
    Pair,
    copy_within,
    forge,
    patch,
    run,
    sent,
)

SMALL, LARGE = [b"a", b"b", b"c"], [bytes([value]) for value in range(ord("b"), 200)]
CONFIRMED = (3, 4, 5)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> TagStore:
    return TagStore.create(tmp_path_factory.mktemp("s") / "store", LARGE, items_a_peer=10**9)


@pytest.fixture
def pair(store: TagStore) -> Pair:
    return lambda: (UnbalancedReceiver(SMALL), store.answering("bob"))


def keeping(items: list[bytes], kept: Path) -> UnbalancedReceiver:
    """A small side that keeps tags in a file, as `psi.sessions.LargeSide` has it."""
    return UnbalancedReceiver(items, tags=read_kept(kept), keep=functools.partial(write_kept, kept))


def found(receiver: UnbalancedReceiver, items: list[bytes]) -> set[bytes]:
    return {items[index] for index in receiver.matches}


@given(
    st.lists(st.binary(max_size=2), unique=True, max_size=12),
    st.lists(st.binary(max_size=2), unique=True, max_size=12),
)
@settings(max_examples=30, deadline=None)
def test_the_receiver_finds_what_python_finds(
    tmp_path_factory: pytest.TempPathFactory, small: list[bytes], large: list[bytes]
) -> None:
    made = TagStore.create(tmp_path_factory.mktemp("s") / "store", large)
    receiver, sender = UnbalancedReceiver(small), made.answering("bob")
    run(receiver, sender)
    assert found(receiver, small) == set(small) & set(large)
    with pytest.raises(StateError, match="receiver only"):
        _ = sender.matches


@pytest.mark.parametrize("small", [[], LARGE, LARGE[5:6], [b"x" * 9]])
def test_adversarial_sizes(store: TagStore, small: list[bytes]) -> None:
    receiver, sender = UnbalancedReceiver(small), store.answering("bob")
    run(receiver, sender)
    assert found(receiver, small) == set(small) & set(LARGE)


def test_tags_travel_once(store: TagStore, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    lengths = []
    for small in (SMALL, [b"c", b"d", b"zz"]):
        receiver = keeping(small, kept)
        messages = run(receiver, store.answering("bob"))
        assert found(receiver, small) == set(small) & set(LARGE)
        lengths.append(len(messages[3]))
    assert lengths[0] - lengths[1] == TAG_BYTES * len(LARGE)
    whole = kept.read_bytes()
    assert len(whole) == len(_KEPT) + TAG_BYTES * len(LARGE)
    kept.write_bytes(_KEPT + b"damaged")
    receiver = keeping(SMALL, kept)
    run(receiver, store.answering("bob"))
    assert found(receiver, SMALL) == {b"b", b"c"}
    assert kept.read_bytes() == whole


def test_a_file_of_something_else_is_not_taken_for_kept_tags(tmp_path: Path) -> None:
    kept = tmp_path / "few.csv"
    for content in (b"", b"ID\n1\n", bytes(range(TAG_BYTES))):
        kept.write_bytes(content)
        with pytest.raises(ConfigError, match="holds no tags"):
            keeping(SMALL, kept)
        assert kept.read_bytes() == content


def test_a_new_version_shares_no_tag_with_the_old_one(tmp_path: Path) -> None:
    kept, folder = tmp_path / "kept", tmp_path / "store"
    tags, keys = [], []
    for large in (LARGE, LARGE[1:]):
        made = TagStore.create(folder, large, replace=True)
        receiver = keeping(SMALL, kept)
        run(receiver, made.answering("bob"))
        assert found(receiver, SMALL) == set(SMALL) & set(large)
        content = kept.read_bytes().removeprefix(_KEPT)
        tags.append({content[i : i + TAG_BYTES] for i in range(0, len(content), TAG_BYTES)})
        keys.append(receiver.public_key)
    assert tags[0].isdisjoint(tags[1])
    assert keys[0] != keys[1]


def test_a_known_key_is_the_only_one_taken(store: TagStore, tmp_path: Path) -> None:
    key = store.terms.public_key
    receiver = UnbalancedReceiver(SMALL, key=key.upper())
    run(receiver, store.answering("bob"))
    assert receiver.public_key == key
    other = TagStore.create(tmp_path / "other", LARGE)
    with pytest.raises(KeyConfirmationError, match="whether it has a new one"):
        run(UnbalancedReceiver(SMALL, key=key), other.answering("bob"))


def test_a_peer_asks_as_much_as_it_may(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    TagStore.create(folder, LARGE, items_a_peer=7)
    for left in (4, 1):
        opened = TagStore(folder)  # the count outlives the process
        run(UnbalancedReceiver(SMALL), opened.answering("bob"))
        assert opened.ledger.items_left("bob") == left
    with pytest.raises(QueryLimitError, match="1 more of 7"):
        run(UnbalancedReceiver(SMALL), TagStore(folder).answering("bob"))
    assert TagStore(folder).ledger.items_left("bob") == 1
    run(UnbalancedReceiver(SMALL), TagStore(folder).answering("carol"))


def test_two_requests_at_once_are_both_counted(tmp_path: Path) -> None:
    made = TagStore.create(tmp_path / "store", LARGE, items_a_peer=4)
    receivers = [UnbalancedReceiver(SMALL), UnbalancedReceiver(SMALL)]
    senders = [made.answering("bob") for _ in receivers]
    points = [
        r.receive(sent(s.receive(sent(r.start())))) for r, s in zip(receivers, senders, strict=True)
    ]
    senders[0].receive(sent(points[0]))
    with pytest.raises(QueryLimitError):
        senders[1].receive(sent(points[1]))


def test_a_key_has_an_end(tmp_path: Path) -> None:
    made = TagStore.create(tmp_path / "store", LARGE, days=1e-9)
    with pytest.raises(ConfigError, match="reached its end"):
        made.answering("bob")


def test_a_key_ends_for_one_that_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sender = TagStore.create(tmp_path / "store", LARGE, days=1).answering("bob")
    late = time.time() + 2 * 86400
    monkeypatch.setattr(time, "time", lambda: late)
    with pytest.raises(ConfigError, match="reached its end"):
        run(UnbalancedReceiver(SMALL), sender)


@pytest.mark.parametrize("stop", [0, 2])
def test_a_store_that_was_replaced_answers_no_more(tmp_path: Path, stop: int) -> None:
    """Else the new store's count would allow as many items again under the old key."""
    folder = tmp_path / "store"
    made = TagStore.create(folder, LARGE, items_a_peer=3)
    run(UnbalancedReceiver(SMALL), made.answering("bob"))
    receiver, sender = UnbalancedReceiver(SMALL), made.answering("carol")
    message = sent(receiver.start())
    if stop:
        message = sent(receiver.receive(sent(sender.receive(message))))
    TagStore.create(folder, LARGE, items_a_peer=3, replace=True)
    with pytest.raises(ConfigError, match="was replaced"):
        sender.receive(message)
    with pytest.raises(ConfigError, match="was replaced"):
        made.answering("bob")
    run(UnbalancedReceiver(SMALL), TagStore(folder).answering("bob"))
    shutil.rmtree(folder)
    with pytest.raises(ConfigError, match="or removed"):
        made.answering("dora")


def test_what_a_store_refuses(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    with pytest.raises(ConfigError, match="repeat"):
        TagStore.create(folder, [b"a", b"a"])
    with pytest.raises(ConfigError, match="positive"):
        TagStore.create(folder, [b"a"], items_a_peer=0)
    with pytest.raises(ConfigError, match="cannot be written"):
        TagStore.create(tmp_path / "absent" / "store", [b"a"])
    with pytest.raises(ConfigError, match="no store"):
        TagStore(folder)
    TagStore.create(folder, [b"a", b"b"])
    with pytest.raises(ConfigError, match="exists"):
        TagStore.create(folder, [b"a"])
    (tmp_path / "documents").mkdir()
    with pytest.raises(ConfigError, match="exists"):
        TagStore.create(tmp_path / "documents", [b"a"], replace=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["documents", "store"]
    assert stat.S_IMODE((folder / "key").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("tags", bytes(32), "damaged"),
        ("tags", b"", "damaged"),
        ("key", bytes([1]) + bytes(31), "damaged"),
        ("key", b"short", "damaged key"),
        ("terms.json", b"{}", "no store"),
        ("terms.json", b"\xff", "no store"),
    ],
)
def test_damaged_stores(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    TagStore.create(tmp_path / "store", [b"a", b"b"])
    (tmp_path / "store" / name).write_bytes(content)
    with pytest.raises(ConfigError, match=words):
        TagStore(tmp_path / "store")


def test_a_key_that_others_may_read_and_a_lost_count(tmp_path: Path) -> None:
    made = TagStore.create(tmp_path / "store", [b"a", b"b"])
    for content in (None, "", "no database" * 100):
        (tmp_path / "store" / "used").unlink()
        if content is not None:
            (tmp_path / "store" / "used").write_text(content)
        with pytest.raises(ConfigError, match="count"):
            made.ledger.charge("bob", 1)
        (tmp_path / "store" / "used").touch()
    (tmp_path / "store" / "key").chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        TagStore(tmp_path / "store")


def test_settings_without_a_meaning_are_refused(store: TagStore) -> None:
    with pytest.raises(ConfigError, match="small side"):
        UnbalancedReceiver(SMALL, SessionParameters())
    with pytest.raises(ConfigError, match="key format"):
        store.answering("bob", parameters=SessionParameters(output="receiver", key_format="x"))
    with pytest.raises(ConfigError, match="ask in several"):
        UnbalancedReceiver([number.to_bytes(4, "big") for number in range(MAX_REQUEST + 1)])
    receiver = UnbalancedReceiver(SMALL, SessionParameters(output="receiver", key_format="x"))
    with pytest.raises(ParameterMismatchError):
        run(receiver, store.answering("bob"))


def test_secrets_are_neither_shown_nor_pickled(store: TagStore, pair: Pair) -> None:
    receiver, sender = pair()
    run(receiver, sender)
    assert receiver._blinds is receiver._exchange is None  # noqa: SLF001  (the secrets are gone)
    secret = store.tag_set.key.reveal().hex()
    for one in (store, store.tag_set, receiver, sender):
        assert secret not in repr(one)
        with pytest.raises(TypeError):
            pickle.dumps(one)
    assert secret not in repr(store.terms)


# -- hostile peers ------------------------------------------------------------------------------


KEY, PROOF, EVALUATED = MAC_BYTES, MAC_BYTES + 32, MAC_BYTES + 96
DIGEST = EVALUATED + 32 * 4
TAGS = DIGEST + 32


@pytest.mark.parametrize("name", BAD_POINTS)
@pytest.mark.parametrize(
    ("stop", "start"), [(2, 32), (2, 96), (3, KEY), (3, EVALUATED), (3, EVALUATED + 64)]
)
def test_invalid_points(pair: Pair, name: str, stop: int, start: int) -> None:
    with pytest.raises(InvalidPointError):
        forge(pair, stop, patch(start, BAD_POINTS[name]))


def test_repeated_points(pair: Pair) -> None:
    with pytest.raises(RepeatedElementError):
        forge(pair, 2, copy_within(64, 96))


def test_points_are_not_evaluated_uncounted(tmp_path: Path) -> None:
    made = TagStore.create(tmp_path / "store", LARGE, items_a_peer=10)

    def both() -> tuple[Any, Any]:
        return UnbalancedReceiver(SMALL), made.answering("bob")

    with pytest.raises(DecodeError):
        forge(
            both,
            2,
            lambda body, messages: bytes(body) + multiply_base([made.tag_set.key]).tobytes(),
        )
    assert made.ledger.items_left("bob") == 10
    forge(both, 2, lambda body, messages: None)  # whatever becomes of the answer
    assert made.ledger.items_left("bob") == 7


@pytest.mark.parametrize("start", [EVALUATED, EVALUATED + 96, KEY])
def test_another_key_is_no_empty_result(pair: Pair, store: TagStore, start: int) -> None:
    point = (
        multiply_base([store.tag_set.key]).tobytes()
        if start != KEY
        else multiply_base([store.tag_set.key * store.tag_set.key]).tobytes()
    )
    with pytest.raises(KeyConfirmationError, match="committed"):
        forge(pair, 3, patch(start, point))


def test_another_proof(pair: Pair) -> None:
    with pytest.raises(KeyConfirmationError, match="committed"):
        forge(pair, 3, patch(PROOF, bytes([1]) + bytes(31)))
    with pytest.raises(DecodeError, match="scalar"):
        forge(pair, 3, patch(PROOF, bytes(32)))


@pytest.mark.parametrize("start", [0, DIGEST, TAGS])
def test_unconfirmed_content(pair: Pair, start: int) -> None:
    with pytest.raises(KeyConfirmationError):
        forge(pair, 3, patch(start, b"12345678"))


def confirmed(pair: Pair, store: TagStore, change: Any) -> Any:
    """Let the large side lie about its tags under its own MAC."""

    class Lying(UnbalancedSender):
        def _confirmed(self, kind: Any, count: int, *content: Any) -> bytes:
            changed = (change(one) if len(one) else one for one in content)
            return super()._confirmed(kind, count, *changed)

    liar = Lying(store.tag_set, count=lambda items: None)
    return run(UnbalancedReceiver(SMALL), liar, measured=False)


def test_tags_that_lie(pair: Pair, store: TagStore) -> None:
    start = TAGS - MAC_BYTES

    def with_tags(tags: bytes) -> Any:
        digest = hashlib.sha256(tags).digest()
        return lambda content: content[: start - 32] + digest + tags

    tags = store.tag_set.tags
    repeated = tags[:16] + tags[:16] + tags[32:]
    turned = tags[16:32] + tags[:16] + tags[32:]
    for wrong in (repeated, turned):
        with pytest.raises(DecodeError, match="ascend"):
            confirmed(pair, store, with_tags(wrong))
    for wrong in (tags[:-16], tags + bytes(16), tags[:-1], b""):
        with pytest.raises(DecodeError, match="more or fewer"):
            confirmed(pair, store, with_tags(wrong))
    with pytest.raises(DecodeError, match="announces"):
        confirmed(pair, store, lambda content: content[:-16] + b"\xff" * 16)


def test_hostile_sizes(store: TagStore) -> None:
    receiver = UnbalancedReceiver(SMALL, max_peer_items=len(LARGE) - 1)
    with pytest.raises(ProtocolError, match="allows"):
        run(receiver, store.answering("bob"))
