"""A server of Flower that lies: what it changes on the way ends the run, or changes nothing."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from flwr.app import ArrayRecord, Message

from privfed.errors import (
    ConfigError,
    ContextMismatchError,
    DecodeError,
    PeerError,
    PrivFedError,
    QuorumError,
)
from privfed.integrations import server as servers
from privfed.integrations.flower import EncryptedMod
from privfed.integrations.flower.records import (
    ASK,
    CHECKPOINT,
    UPLOAD,
    array_bytes,
    bytes_array,
    checkpoint_in,
    put_message,
    put_totals,
    totals_in,
)
from privfed.integrations.messages import Assignment, Greet, PastRound, encode
from privfed.integrations.spool import read_checkpoint, write_checkpoint
from privfed.secagg import Aggregator, Party
from tests.integrations.grid import OneProcessGrid
from tests.integrations.jobs import START, Job, ask_of, close, read_wire, same_bits, unharmed

Swap = Callable[[Job, list[bytes], int], bytes]


def _uploads(job: Job, node: int) -> list[bytes]:
    found = []
    for at, said in job.grid.seen:
        content = read_wire(said).content
        for record in content.array_records.values():
            if at == node and UPLOAD in record:
                found.append(array_bytes(record[UPLOAD]))
    return found


def one_upload(job: Job, totals: list[bytes], node: int) -> bytes:
    return _uploads(job, 100)[-1]


def one_upload_in_a_total(job: Job, totals: list[bytes], node: int) -> bytes:
    """One client's ciphertext under what all have signed."""
    upload, total = _uploads(job, 100)[-1], totals[-1]
    return total[: len(total) - 2000] + upload[len(upload) - 2000 :]


def a_bit(job: Job, totals: list[bytes], node: int) -> bytes:
    return totals[-1][:-9] + bytes([totals[-1][-9] ^ 1]) + totals[-1][-8:]


def cut(job: Job, totals: list[bytes], node: int) -> bytes:
    return totals[-1][:-1]


def longer(job: Job, totals: list[bytes], node: int) -> bytes:
    return totals[-1] + bytes(1 << 16)


def empty(job: Job, totals: list[bytes], node: int) -> bytes:
    return b""


@pytest.mark.parametrize("swap", [one_upload, one_upload_in_a_total, a_bit, cut, longer, empty])
def test_a_total_that_is_none_opens_nothing(tmp_path: Path, swap: Swap) -> None:
    job = Job(tmp_path / "keys", 3)

    def change(node: int, message: Message) -> Message:
        totals = totals_in(message.content)
        if totals and node == 101:
            put_totals(message.content, [*totals[:-1], swap(job, totals, node)])
        return message

    job.grid.to_node = change
    with pytest.raises(PeerError, match=r"node 101 \(party .*its own log says more"):
        job.run(2)
    assert same_bits(job.model(1), START)


def test_totals_of_other_rounds_runs_and_groups_open_nothing(tmp_path: Path) -> None:
    job = Job(tmp_path / "keys", 6)
    first = job.run(2)
    _, older = read_checkpoint(checkpoint_in(first.arrays) or b"")
    kept: dict[int, list[bytes]] = {}

    def older_one(node: int, message: Message) -> Message:
        totals = totals_in(message.content)
        if totals:
            kept[node] = totals
            put_totals(message.content, [older])
        return message

    before = job.models()
    job.grid.to_node = older_one
    with pytest.raises(PeerError, match="refused with"):
        job.run(1)
    assert all(same_bits(job.model(place), START) for place in range(6))  # begun, and not opened
    assert not same_bits(before, START)

    def of_one_group(node: int, message: Message) -> Message:
        if totals_in(message.content):
            part = Aggregator(job.params, 4)
            for each in range(103, 106):
                part.add(_uploads(job, each)[-1])
            put_totals(
                message.content, [part.total()] if node < 103 else totals_in(message.content)
            )
        return message

    job.grid.to_node = of_one_group
    # Each group sees a sum of whole groups; that they differ is seen by the next round.
    with pytest.raises(PrivFedError):
        job.run(2)


def test_a_server_that_adds_what_it_likes_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One client's upload as the sum, by a server whose own checks are gone."""
    job = Job(tmp_path / "keys", 2)

    def alone(self: Any, ask: Any, tell: Any) -> bytes:
        begun, self._round = self._round, None
        total = bytes(begun.sum.total())
        upload = _uploads(job, 100)[-1]
        forged = total[: len(total) - 2000] + upload[len(upload) - 2000 :]
        self._totals.put(begun.of, forged)
        return write_checkpoint(begun.of, forged)

    monkeypatch.setattr(servers.EmbeddedServer, "total", alone)
    with pytest.raises(PeerError, match=r"refused with (AuthenticationError|DecodeError)"):
        job.run(1)
    unharmed(job)


def _swapped(job: Job, what: Callable[[Message], bool]) -> None:
    """Let the SuperLink swap nodes 100 and 104, both ways, for some messages."""
    real, other = job.grid.delivered, {100: 104, 104: 100}

    def deliver(message: Message, name: str) -> Message | None:
        if not what(message):
            return real(message, name)
        node = message.metadata.dst_node_id
        message.metadata.dst_node_id = other.get(node, node)
        reply = real(message, name)
        if reply is not None:
            reply.metadata.__dict__["_src_node_id"] = node
        return reply

    job.grid.delivered = deliver  # type: ignore[method-assign]


def _is_greeting(message: Message) -> bool:
    return isinstance(ask_of(message), Greet)


def test_nodes_that_are_swapped_throughout_change_nothing(tmp_path: Path) -> None:
    """Nothing rests on the server's list of nodes: parties are who signs."""
    job = Job(tmp_path / "keys", 6)
    _swapped(job, lambda message: True)
    job.run(2)
    close(job, list(range(6)))


@pytest.mark.parametrize("hellos", [True, False])
def test_nodes_that_are_swapped_in_between_end_the_run(tmp_path: Path, hellos: bool) -> None:
    job = Job(tmp_path / "keys", 6)
    _swapped(job, lambda message: _is_greeting(message) == hellos)
    with pytest.raises(PeerError, match="refused with QuorumError"):
        job.run(2)
    unharmed(job)


def test_answers_that_change_places_count_for_who_signed(tmp_path: Path) -> None:
    """The other direction alone: replies to a training under each other's node."""
    job = Job(tmp_path / "keys", 3)

    def swap(node: int, message: Message) -> Message:
        if message.has_content() and message.content.array_records:
            other = {100: 101, 101: 100}.get(node, node)
            message.metadata.__dict__["_src_node_id"] = other
        return message

    job.grid.from_node = swap
    job.run(2)
    close(job, [0, 1, 2])
    job.grid.from_node = lambda node, message: _from(message, 777)
    with pytest.raises(PrivFedError):
        job.run(1)


def _from(message: Message, node: int) -> Message:
    if message.has_content() and message.content.array_records:
        message.metadata.__dict__["_src_node_id"] = node
    return message


def _ask_changed(change: Callable[[Assignment], Assignment]) -> Callable[[int, Message], Message]:
    def changed(node: int, message: Message) -> Message:
        ask = ask_of(message)
        if node == 101 and isinstance(ask, Assignment):
            put_message(message.content, encode(change(ask)))
        return message

    return changed


def _with(**fields: Any) -> Callable[[Assignment], Assignment]:
    return lambda ask: msgspec.structs.replace(ask, **fields)


@pytest.mark.parametrize(
    "change",
    [
        _with(purpose="evaluate"),
        _with(round_id=2),
        _with(round_id=(1 << 63) - 1),
        _with(round_id=0),
        _with(hellos=()),
        _with(totals=(PastRound(1),)),
        _with(cohort=(1,)),
        lambda ask: _with(hellos=ask.hellos[:2])(ask),
        lambda ask: _with(hellos=tuple(each[::-1] for each in ask.hellos))(ask),
    ],
)
def test_a_question_that_is_altered_ends_the_run(
    tmp_path: Path, change: Callable[[Assignment], Assignment]
) -> None:
    job = Job(tmp_path / "keys", 3)
    job.grid.to_node = _ask_changed(change)
    with pytest.raises(PrivFedError):
        job.run(1)
    unharmed(job)


def test_bytes_that_are_no_question_or_answer_are_refused(tmp_path: Path) -> None:
    for direction in ("to_node", "from_node"):
        for data in (b"", b"\xc1", b"\x91" * 5000, bytes(100), b"x" * 70):
            job = Job(tmp_path / f"{direction}{len(data)}", 2)

            def change(node: int, message: Message, data: bytes = data) -> Message:
                if message.has_content() and ASK in message.content:
                    put_message(message.content, data)
                return message

            setattr(job.grid, direction, change)
            with pytest.raises((DecodeError, PeerError)):
                job.run(1)
            assert not any(site.trained for site in job.sites)


def test_an_initial_model_of_the_servers_own_is_refused(tmp_path: Path) -> None:
    job = Job(tmp_path / "keys", 3)

    def change(node: int, message: Message) -> Message:
        if node == 101 and len(message.content.array_records.get("arrays", {})):
            record = message.content.array_records["arrays"]
            message.content["arrays"] = ArrayRecord(
                {name: type(each)(each.numpy() * 0) for name, each in record.items()}
            )
        return message

    job.grid.to_node = change
    with pytest.raises(PeerError, match="refused with ContextMismatchError"):
        job.run(1)
    unharmed(job)


# -- parties that do not fit -------------------------------------------------------------------


def test_other_parameters_are_told(tmp_path: Path) -> None:
    job = Job(tmp_path / "keys", 2)
    Job(tmp_path / "other", 2, bits=20)
    job.grid.configs[1]["privfed-keys"] = str(tmp_path / "other" / "1")
    with pytest.raises(ContextMismatchError, match="the parameters of node 101"):
        job.run(1)
    job.grid.configs[1]["privfed-keys"] = str(tmp_path / "keys" / "1")
    with pytest.raises(ContextMismatchError, match="given to the server"):
        job.run(1, params=Job(tmp_path / "third", 2, bits=24).params)
    unharmed(job)


def test_another_shared_key_is_told(tmp_path: Path) -> None:
    """Both made a key for the same parameters, and neither accepted the other's."""
    from privfed.secagg import Keyring

    job = Job(tmp_path / "keys", 2)
    ring = Keyring(tmp_path / "keys" / "1")
    ring.rotate()
    with pytest.raises(ContextMismatchError, match="different shared keys"):
        job.run(1)
    unharmed(job)


def test_one_keyring_at_two_nodes_is_told(tmp_path: Path) -> None:
    job = Job(tmp_path / "keys", 3)
    job.grid.configs[2]["privfed-keys"] = str(tmp_path / "keys" / "1")
    with pytest.raises(ConfigError, match="nodes 101 and 102 are both party"):
        job.run(1)
    unharmed(job)


def test_weights_and_updates_do_not_mix(tmp_path: Path) -> None:
    job = Job(tmp_path / "keys", 2)
    job.grid.apps[101] = job.sites[1].app([EncryptedMod(travels="updates")])
    with pytest.raises(ContextMismatchError, match="weights, updates or shares"):
        job.run(1)
    unharmed(job)


def test_who_may_miss_may(tmp_path: Path, told: list[str]) -> None:
    job = Job(tmp_path / "keys", 6)
    job.grid.dead = {104}
    with pytest.raises(QuorumError, match=r"may_miss=True") as caught:
        job.run(1)
    assert job.params.roster[4].id in str(caught.value)
    job.run(1, may_miss=True)
    assert same_bits(job.model(0), job.model(2))
    assert not same_bits(job.model(0), START)
    assert not any(job.sites[place].trained for place in (3, 4, 5))


def test_a_checkpoint_of_other_keys_or_a_changed_one_is_refused(tmp_path: Path) -> None:
    job, other = Job(tmp_path / "keys", 2), Job(tmp_path / "other", 2, bits=18)
    job.run(1)
    of, total = read_checkpoint(checkpoint_in(job.run(1).arrays) or b"")
    foreign = checkpoint_in(other.run(1).arrays) or b""
    for data in (
        foreign,
        b"",
        b"junk",
        write_checkpoint(PastRound(of.round_id + 1), total),
        write_checkpoint(PastRound(of.round_id - 1), total),
    ):
        with pytest.raises(PrivFedError):
            job.run(1, start=ArrayRecord({CHECKPOINT: bytes_array(data)}))


def test_a_party_in_use_is_told(tmp_path: Path, told: list[str]) -> None:
    job = Job(tmp_path / "keys", 2)
    with Party.load(tmp_path / "keys" / "1"), pytest.raises(PeerError, match="node 101"):
        job.run(1)
    assert any("in use" in line for line in told)


def test_a_grid_of_nobody_is_told(tmp_path: Path) -> None:
    job = Job(tmp_path / "keys", 2)
    job.grid = OneProcessGrid([site.app([EncryptedMod()]) for site in job.sites], [{}, {}])
    job.grid.dead = {100, 101}
    with pytest.raises(QuorumError, match="no node said hello"):
        job.run(1)
