"""Some parties open a round's total, and the others read what these sign: in Flower's messages."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flwr.app import ArrayRecord, Message

from privfed.errors import ContextMismatchError, PeerError
from privfed.integrations.flower import EncryptedMod
from privfed.integrations.flower.records import (
    CHECKPOINT,
    RESULT,
    array_bytes,
    bytes_array,
    checkpoint_in,
    put_message,
    totals_in,
)
from privfed.integrations.messages import Assignment, PastRound
from privfed.integrations.openers import LEGS, AskedOpeners
from privfed.integrations.spool import read_checkpoint, write_checkpoint
from privfed.secagg import Aggregator, wire
from privfed.secagg.openers import ResultWriter
from tests.integrations.jobs import START, Job, ask_of, close, quiet_average, read_wire, same_bits
from tests.secagg.party_jobs import Job as RoundJob

Change = Callable[[Job, Message], Message | None]


def job_of(folder: Path, parties: int = 6, **settings: Any) -> Job:
    return Job(folder, parties, **({"download": "opener"} | settings))


def asked(job: Job) -> list[int]:
    """Nodes that were asked to open a total, in their order."""
    return [node for node, sent in job.grid.sent if _is_open(read_wire(sent))]


def _is_open(message: Message) -> bool:
    ask = ask_of(message)
    return isinstance(ask, Assignment) and ask.purpose == "open"


def came(job: Job, node: int, *, results: bool) -> int:
    """How many totals, or RESULTs, a node was sent."""
    along = [totals_in(read_wire(sent).content) for each, sent in job.grid.sent if each == node]
    return sum(wire.is_result(data) == results for past in along for data in past)


def opener_changes(job: Job, change: Change, who: Callable[[int], bool]) -> list[int]:
    """Let a change befall the answers of some openers; return whose, as they come."""
    hit: list[int] = []

    def from_node(node: int, message: Message) -> Message | None:
        if any(RESULT in each for each in message.content.array_records.values()) and who(node):
            hit.append(node)
            return change(job, message)
        return message

    job.grid.from_node = from_node
    return hit


@pytest.mark.parametrize("travels", ["weights", "updates"])
def test_two_open_a_total_and_all_have_the_model_of_the_seeds(tmp_path: Path, travels: Any) -> None:
    """Bit for bit; openers get the total once, all others only what was signed."""
    mods = [EncryptedMod(travels=travels)]
    plain = Job(tmp_path / "seeds", 6, mods=mods)
    plain.run(3)
    job = job_of(tmp_path / "keys", mods=mods)
    job.run(3)
    assert same_bits(job.models(), plain.models())
    assert len(asked(job)) == 3 * job.params.openers == 6
    for node in job.grid.apps:
        opened = asked(job).count(node)
        assert came(job, node, results=False) == opened
        assert came(job, node, results=True) == 3 - opened
    assert not asked(plain)


def test_another_colluder_takes_another_opener(tmp_path: Path) -> None:
    job = job_of(tmp_path / "keys", 8, adversary="lying-server+2")
    job.run(1)
    close(job, list(range(8)))
    assert len(asked(job)) == 3


def test_who_is_asked_changes_from_round_to_round(tmp_path: Path) -> None:
    """The first of them is drawn by a hash: of 8 draws, all are one in 6^-7 of runs."""
    job = job_of(tmp_path / "keys")
    job.run(8, inner=quiet_average(fraction_evaluate=0.0))
    close(job, list(range(6)))
    assert len(set(asked(job)[::2])) > 1


# -- openers that die, refuse or lie ---------------------------------------------------------------


def test_an_opener_that_dies_is_replaced(tmp_path: Path, told: list[str]) -> None:
    job = job_of(tmp_path / "keys")
    dying: list[int] = []

    def to_node(node: int, message: Message) -> Message | None:
        if _is_open(message) and not dying:
            dying.append(node)
            job.grid.dead.add(node)
        return message

    job.grid.to_node = to_node
    job.run(2)
    (lost,) = dying
    assert any(f"node {lost} opens no total" in line for line in told)
    assert len(asked(job)) > 2
    (whole,) = [group for group in job.params.groups if lost - 100 not in group]
    close(job, list(whole), but=[lost - 100])
    for node in job.grid.apps:
        assert came(job, node, results=False) == asked(job).count(node)


def silent(job: Job, message: Message) -> None:
    return None


def refuses(job: Job, message: Message) -> Message:
    message.content.array_records.clear()
    put_message(message.content, b"\x92\xa7refused\xafCapacityErrors!")
    return message


def of_result(change: Callable[[bytes], bytes]) -> Change:
    def changed(job: Job, message: Message) -> Message:
        for key in list(message.content.array_records):
            data = array_bytes(message.content.array_records[key][RESULT])
            message.content[key] = ArrayRecord({RESULT: bytes_array(change(data))})
        return message

    return changed


def numbers(job: Job, message: Message) -> Message:
    """Something else than bytes."""
    for key in list(message.content.array_records):
        data = bytes_array(b"abc")
        data.data = b"abc"
        message.content[key] = ArrayRecord({RESULT: data})
    return message


def test_an_answer_counts_once_whoever_brings_it(tmp_path: Path) -> None:
    there = RoundJob(tmp_path / "state", 4, adversary="lying-server+1", download="opener")
    uploads, results = there.uploads(), dict[str, bytes]()

    def closed() -> tuple[Aggregator, bytes]:
        server = Aggregator(there.params, 1)
        for upload in uploads:
            server.add(upload)
        return server, server.total()

    server, total = closed()
    for party in there.parties:
        party.open(total)
        results[party.id] = party.result()
    opening = AskedOpeners(server, server.openers, 2)
    first, second = opening.next()
    for _ in range(3):
        opening.add(first, results[first])
        assert opening.result == b""
    opening.add(second, results[second])
    assert opening.result == server.result()
    assert opening.next() == []
    again, _ = closed()
    brought = AskedOpeners(again, again.openers, 2)
    brought.add(first, results[first])
    with pytest.raises(ContextMismatchError, match="or it sends the other's"):
        brought.add(second, results[first])
    assert brought.result == b""


LIES: dict[str, Change] = {
    "silent": silent,
    "refuses": refuses,
    "a bit": of_result(lambda data: data[:-9] + bytes([data[-9] ^ 1]) + data[-8:]),
    "cut": of_result(lambda data: data[:-1]),
    "nothing": of_result(lambda data: b""),
    "long": of_result(lambda data: data * 2),
    "no bytes": numbers,
}


@pytest.mark.parametrize("lie", LIES)
def test_one_that_lies_costs_a_next_one(tmp_path: Path, told: list[str], lie: str) -> None:
    job = job_of(tmp_path / "keys")
    first: list[int] = []

    def who(node: int) -> bool:
        first[:] = first or [node]
        return node in first

    hit = opener_changes(job, LIES[lie], who)
    job.run(2)
    close(job, list(range(6)))
    assert hit
    assert any(f"node {hit[0]} opens no total" in line for line in told)
    assert sum(came(job, node, results=True) for node in job.grid.apps) > 0
    for node in job.grid.apps:  # nobody else than who was asked got a total
        assert came(job, node, results=False) == asked(job).count(node)


def test_sums_that_one_party_invents_are_read_by_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: list[str]
) -> None:
    """Sealed and signed as they should be, by a party whose code is its own."""
    job = job_of(tmp_path / "keys")
    liars: list[int] = []
    take, signed = vars(ResultWriter)["take"], vars(ResultWriter)["signed"]
    invented: dict[ResultWriter, ResultWriter] = {}

    def takes(self: ResultWriter, part: Any, prefix: Any, sums: Any) -> None:
        if self not in invented:
            invented[self] = ResultWriter(vars(self)["_parts"], vars(self)["_key"])
        other = invented[self]
        take(self, part, prefix, sums)
        take(other, part, prefix, sums + 1)

    def signs(self: ResultWriter, identity: Any, place: int, **told: Any) -> bytes:
        liars[:] = liars or [place]
        return bytes(signed(invented[self] if place in liars else self, identity, place, **told))

    monkeypatch.setattr(ResultWriter, "take", takes)
    monkeypatch.setattr(ResultWriter, "signed", signs)
    job.run(2)
    close(job, list(range(6)))
    assert asked(job)[0] == 100 + liars[0]
    assert any("signed different sums" in line for line in told)


@pytest.mark.parametrize("lie", ["silent", "a bit"])
def test_where_all_lie_the_total_goes_to_all(tmp_path: Path, told: list[str], lie: str) -> None:
    job = job_of(tmp_path / "keys", 12)
    hit = opener_changes(job, LIES[lie], lambda node: True)
    result = job.run(1)
    close(job, list(range(12)))
    assert any("too few parties open the total" in line for line in told)
    assert len(hit) == len(set(hit)) == min(12, 2 * (2**LEGS - 1))
    for node in job.grid.apps:
        assert came(job, node, results=False) >= 1
        assert not came(job, node, results=True)
    assert not wire.is_result(read_checkpoint(checkpoint_in(result.arrays) or b"")[1])


def test_a_refusal_by_all_ends_the_run_as_before(tmp_path: Path) -> None:
    """A total that does not open is refused by whoever gets it, opener or not."""
    job = job_of(tmp_path / "keys", 3)

    def to_node(node: int, message: Message) -> Message:
        totals = totals_in(message.content)
        if totals:
            message.content["privfed.totals"] = ArrayRecord(
                {"0": bytes_array(totals[0][:-9] + bytes([totals[0][-9] ^ 1]) + totals[0][-8:])}
            )
        return message

    job.grid.to_node = to_node
    with pytest.raises(PeerError, match="refused with"):
        job.run(1)
    assert same_bits(job.models(), START)


# -- who comes later -------------------------------------------------------------------------------


def test_who_comes_back_reads_what_it_missed(tmp_path: Path) -> None:
    job = job_of(tmp_path / "keys")
    away: list[int] = []

    def before(purpose: str) -> None:
        if purpose == "train" and len(away) < 2:
            away.append(1)
            raise RuntimeError("gone for a while")

    job.sites[0].before = before
    job.run(6)
    assert len(job.sites[0].trained) == 2
    close(job, list(range(6)))


def test_a_run_resumes_from_what_was_signed(tmp_path: Path) -> None:
    whole, job = job_of(tmp_path / "whole"), job_of(tmp_path / "keys")
    whole.run(3)
    lost = job.grid.to_node
    readers: list[int] = []

    def to_node(node: int, message: Message) -> Message | None:
        if any(wire.is_result(data) for data in totals_in(message.content)):
            readers.append(node)
            return None
        return message

    job.grid.to_node = to_node
    result = job.run(1)
    assert all(same_bits(job.model(node - 100), START) for node in set(readers))
    checkpoint = checkpoint_in(result.arrays) or b""
    assert wire.is_result(read_checkpoint(checkpoint)[1])
    job.grid.to_node = lost
    result = job.run(1, start=result.arrays)
    job.run(1, start=result.arrays)
    assert same_bits(whole.models(), job.models())


def test_a_checkpoint_of_another_round_or_signed_by_none_is_refused(tmp_path: Path) -> None:
    job = job_of(tmp_path / "keys", 3)
    of, signed = read_checkpoint(checkpoint_in(job.run(1).arrays) or b"")
    model = job.models()
    for data in (
        write_checkpoint(PastRound(of.round_id + 1), signed),
        write_checkpoint(PastRound(of.round_id + 1), b""),
    ):
        with pytest.raises(PeerError, match="refused with"):
            job.run(1, start=ArrayRecord({CHECKPOINT: bytes_array(data)}))
    assert same_bits(job.models(), model)
