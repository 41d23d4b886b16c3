"""The overlap of the parties' IDs: over TLS on loopback, against what plain sets say."""

from __future__ import annotations

import contextlib
import functools
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from privfed.data import Dataset, Schema
from privfed.data.encoding import Encoder
from privfed.dp import PrivacyPlan, SecretRandomness
from privfed.errors import ConfigError, DecodeError, PeerError
from privfed.partner import Plan
from privfed.partner.overlap import (
    FoundOverlap,
    OverlapTerms,
    PairInPlan,
    digest_of_ids,
    find_overlap,
)
from privfed.partner.overlap_file import MOST_SEARCHES, OverlapFile, settled_overlap
from privfed.partner.pairwise import Pairwise
from privfed.partner.rows import leave_out
from privfed.secagg import Keyring
from privfed.training import GradientClipper, RecordGradients
from psi import Receiver, Sender, SizeLimitError, TranscriptError, TransportError
from psi.network import Link, TLSIdentity, connect, converse
from psi.sessions import TableSession
from tests.partner.trainings import ENCODER, Training, at_once, plan_of
from tests.waiting import LONG_SECONDS

IDList = list[str | None]
Tables = Sequence[tuple[IDList | None, IDList | None]]
MOST = 6
WITH_IDS = Encoder(Schema(ENCODER.schema.columns, id_column="id", label_column="y"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("companies")


def plan_with(folder: Path, parties: int, overlap: str, **changes: Any) -> Plan:
    """A plan whose parties listen on ports that are free."""
    home = folder / str(parties)
    agreed = plan_of(home, parties, encoder=WITH_IDS.to_json(), most_rows=MOST, **changes)
    with contextlib.ExitStack() as free:
        found = [
            free.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(parties - 1)
        ]
        ports = [str(each.getsockname()[1]) for each in found]
    members = [
        msgspec.structs.replace(each, address=f"127.0.0.1:{port}")
        for each, port in zip(agreed.parties, ports, strict=False)
    ]
    whole = msgspec.structs.replace(agreed, overlap=overlap, parties=(*members, agreed.parties[-1]))
    whole.check()
    return whole


def identity(folder: Path, plan: Plan, place: int) -> TLSIdentity:
    return TLSIdentity.load(folder / str(len(plan.parties)) / plan.parties[place].name)


def party(folder: Path, plan: Plan, place: int, *ids: Any, **how: Any) -> FoundOverlap:
    given: dict[str, Any] = {"wait_seconds": LONG_SECONDS, "listen": plan.parties[place].address}
    return find_overlap(plan, identity(folder, plan, place), *ids, **given | how)


def found(folder: Path, plan: Plan, tables: Tables) -> list[Any]:
    acts = [functools.partial(party, folder, plan, at, *ids) for at, ids in enumerate(tables)]
    return at_once(*acts)


def plain(plan: Plan, tables: Tables, place: int) -> FoundOverlap:
    """What a party is to learn, by one who holds all tables."""
    known = [{each for each in train or () if each} for train, _ in tables]
    train, tests = tables[place]

    def rows(ids: IDList, other: int) -> tuple[int, ...]:
        return tuple(row for row, each in enumerate(ids) if each in known[other])

    places = range(len(tables))
    which = plan.overlap == "rows"
    return FoundOverlap(
        plan=plan.fingerprint.hex(),
        ids=digest_of_ids(plan, train, tests),
        place=place,
        rows=len(train or ()),
        tests=len(tests or ()),
        counts=tuple(len(known[place] & each) for each in known),
        trained_too=tuple(rows(train, at) if at != place else () for at in places)
        if which and train is not None
        else None,
        tested=tuple(rows(tests, at) for at in places) if which and tests is not None else None,
    )


THREE: Tables = (
    (["a", "b", "", "a", None], ["c", "a"]),
    (["b", "c", "d", "b"], None),
    (["c", "a", "q"], ["zz", "b", None]),
)


@pytest.mark.parametrize("overlap", ["counts", "rows"])
@pytest.mark.parametrize("parties", [2, 3])
def test_all_learn_what_plain_sets_say(folder: Path, parties: int, overlap: str) -> None:
    plan, tables = plan_with(folder, parties, overlap), THREE[:parties]
    assert found(folder, plan, tables) == [plain(plan, tables, at) for at in range(parties)]


def test_the_later_of_two_takes_out(folder: Path) -> None:
    plan = plan_with(folder, 3, "rows")
    first, second, third = found(folder, plan, THREE)
    assert first.taken_out.tolist() == [False] * 5
    assert second.taken_out.tolist() == [True, False, False, True]  # b
    assert third.taken_out.tolist() == [True, True, False]  # c, a
    assert first.seen.tolist() == [True, True]  # c elsewhere, a here as well
    assert second.seen is None
    assert third.seen.tolist() == [False, True, False]
    assert repr(third) == "FoundOverlap(3 training rows, 3 test rows)"


def test_counts_are_all_that_counting_tells(folder: Path, tmp_path: Path) -> None:
    plan = plan_with(folder, 2, "counts")
    for one, ids in zip(found(folder, plan, THREE[:2]), THREE, strict=False):
        assert (one.taken_out, one.seen, one.trained_too, one.tested) == (None,) * 4
        OverlapFile(tmp_path / "overlap", plan, *ids).save(one)
        kept = msgspec.json.decode((tmp_path / "overlap").read_bytes())
        numbers = {name: value for name, value in kept.items() if not isinstance(value, str)}
        assert numbers == {
            "place": one.place, "rows": one.rows, "tests": one.tests,
            "counts": list(one.counts), "trained_too": None, "tested": None,
        }  # fmt: skip


id_lists = st.lists(st.sampled_from(["a", "b", "c", "A", " a", "é", "", None]), max_size=9)
tables = st.tuples(st.none() | id_lists, st.none() | id_lists)


@settings(max_examples=15, deadline=None)
@given(st.sampled_from(["counts", "rows"]), st.tuples(tables, tables))
def test_repeated_and_missing_ids(folder: Path, overlap: str, held: Any) -> None:
    plan = plan_with(folder, 2, overlap)
    assert found(folder, plan, held) == [plain(plan, held, 0), plain(plan, held, 1)]


PROCESS = """
import sys
from pathlib import Path
import msgspec
import numpy as np
from privfed.partner import Plan
from privfed.partner.overlap import find_overlap
from psi.network import TLSIdentity

folder, place = Path(sys.argv[1]), int(sys.argv[2])
plan = Plan.load(folder / "plan.toml")
found = find_overlap(
    plan,
    TLSIdentity.load(folder / "3" / plan.parties[place].name),
    np.array(["1", "2", "2", str(place + 3)]),
    np.array(["4", "9"]),
    listen=plan.parties[place].address,
)
print(msgspec.json.encode(found).decode())
"""


def test_three_processes(folder: Path) -> None:
    plan = plan_with(folder, 3, "rows")
    (folder / "plan.toml").unlink(missing_ok=True)
    plan.save(folder / "plan.toml")
    command = [sys.executable, "-c", PROCESS, str(folder)]
    running = [
        subprocess.Popen([*command, str(place)], stdout=subprocess.PIPE, text=True)
        for place in range(3)
    ]
    said = [each.communicate(timeout=LONG_SECONDS)[0] for each in running]
    assert [each.returncode for each in running] == [0] * 3
    held: Tables = [(["1", "2", "2", str(place + 3)], ["4", "9"]) for place in range(3)]
    learnt = [msgspec.json.decode(each, type=FoundOverlap) for each in said]
    assert learnt == [plain(plan, held, place) for place in range(3)]


# -- who is turned away, and who cheats ----------------------------------------------------------


def listening(plan: Plan) -> None:
    """Wait until the first party listens."""
    host, _, port = str(plan.parties[0].address).rpartition(":")
    while True:
        with contextlib.suppress(ConnectionRefusedError):
            socket.create_connection((host, int(port))).close()
            return


def test_a_party_of_another_plan_is_turned_away(folder: Path) -> None:
    plan, told = plan_with(folder, 2, "rows"), []  # type: ignore[var-annotated]
    other = msgspec.structs.replace(plan, rounds=plan.rounds + 1)

    def wrong_then_right() -> FoundOverlap:
        with pytest.raises(PeerError, match=f"party-0 chose plan={plan.fingerprint.hex()}"):
            party(folder, other, 1, ["b"])
        return party(folder, plan, 1, ["b"])

    first, second = at_once(
        functools.partial(party, folder, plan, 0, ["a", "b"], tell=told.append), wrong_then_right
    )
    assert first == plain(plan, [(["a", "b"], None), (["b"], None)], 0)
    assert second.counts == (1, 1)
    assert told[0] == "looking for the overlap with party-1"
    assert told[1].startswith(
        f"turned away, and waiting on: party-1 chose plan={other.fingerprint.hex()}"
    )


@pytest.fixture(scope="module")
def eve(tmp_path_factory: pytest.TempPathFactory) -> TLSIdentity:
    folder = tmp_path_factory.mktemp("eve") / "eve"
    Keyring.create(folder, None, unlocked=True)
    return TLSIdentity.load(folder)


def with_eve(plan: Plan, eve: TLSIdentity, place: int) -> Plan:
    members = list(plan.parties)
    certificate = eve.certificate.decode()
    members[place] = msgspec.structs.replace(members[place], certificate=certificate)
    return msgspec.structs.replace(plan, parties=tuple(members))


def test_a_stranger_in_a_partys_place_is_not_let_in(folder: Path, eve: TLSIdentity) -> None:
    plan = plan_with(folder, 2, "rows")

    def stranger_then_party() -> FoundOverlap:
        listening(plan)
        with pytest.raises(PeerError, match="cannot reach party-0 at"):
            find_overlap(with_eve(plan, eve, 1), eve, ["a"], wait_seconds=0)
        return party(folder, plan, 1, ["b"])

    acts = functools.partial(party, folder, plan, 0, ["a", "b"]), stranger_then_party
    assert [each.counts for each in at_once(*acts)] == [(2, 1), (1, 1)]


def test_a_stranger_who_listens_in_a_partys_place_learns_nothing(
    folder: Path, eve: TLSIdentity
) -> None:
    plan = plan_with(folder, 2, "rows")
    planted = with_eve(plan, eve, 0)

    def careful_then_deceived() -> FoundOverlap:
        listening(plan)
        with pytest.raises(PeerError, match="does not have the certificate given as party-0's"):
            party(folder, plan, 1, ["b"])
        return party(folder, planted, 1, ["b"])  # with her in the plan she would learn

    hers = functools.partial(find_overlap, planted, eve, ["b"], listen=plan.parties[0].address)
    assert [each.counts for each in at_once(hers, careful_then_deceived)] == [(1, 1), (1, 1)]


def hand_made(
    folder: Path,
    plan: Plan,
    *,
    items: int = MOST,
    other_plan: str = "",
    asked: str = "rows",
    pair: tuple[int, int] = (0, 1),
    dies: bool = False,
) -> int:
    """Be the second party of two by hand, honest in the terms; return the bytes it received."""
    agreed = other_plan or plan.fingerprint.hex()
    choice = PairInPlan(
        side="join",
        protocol="ecdh",
        duplicates="first",
        bound=f"overlap of {agreed}, {asked}, parties {pair[0]} and {pair[1]}",
    )
    session = TableSession.prepare(["b"], choice, pad_to=items)

    class Dying(Pairwise):
        def next_round(self, arrived: Any) -> Any:
            raise InterruptedError

    talk = (Dying if dies else Pairwise)({0: session.party}, ["party-0"])
    with connect(
        address=str(plan.parties[0].address),
        identity=identity(folder, plan, 1),
        peer_certificate=plan.parties[0].certificate.encode(),
        wait_seconds=LONG_SECONDS,
    ) as connection:
        terms = OverlapTerms(plan=plan.fingerprint.hex(), asked="rows")
        received = connection.converse(talk, terms).bytes_received
        assert session.rows().tolist() == [0]
        return received


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"other_plan": "0" * 64}, "party-1: the other side chose other settings"),
        ({"asked": "counts"}, "party-1: the other side chose other settings"),
        ({"pair": (0, 2)}, "party-1: the other side chose other settings"),
        ({"items": MOST + 1}, f"party-1: the other side brings {MOST + 1} items"),
        ({"dies": True}, "party-1 went away"),
    ],
)
def test_a_party_that_cheats_or_dies_is_named(
    folder: Path, wrong: dict[str, Any], named: str
) -> None:
    plan = plan_with(folder, 2, "rows")
    honest, cheat = at_once(
        functools.partial(party, folder, plan, 0, ["a", "b"]),
        functools.partial(hand_made, folder, plan, **wrong),
    )
    assert isinstance(honest, PeerError)
    assert named in str(honest)
    assert isinstance(cheat, InterruptedError if wrong.get("dies") else TransportError)


def test_the_size_of_a_set_is_hidden(folder: Path) -> None:
    received = []
    for ids in (["b"], ["b", "c", "c", "d", "e", "f", "g", ""]):
        plan = plan_with(folder, 2, "rows")
        honest, by_hand = at_once(
            functools.partial(party, folder, plan, 0, ids),
            functools.partial(hand_made, folder, plan),
        )
        assert isinstance(honest, PeerError)  # the other one asks nothing more
        received.append(by_hand)
    assert received[0] == received[1] > MOST * 32


@pytest.mark.parametrize(("place", "named"), [(0, "(party-1)|nobody"), (1, "party-0 at")])
def test_a_party_that_does_not_come_is_named(folder: Path, place: int, named: str) -> None:
    plan = plan_with(folder, 2, "counts")
    with pytest.raises(PeerError, match=f"let all start again: .*({named})"):
        party(folder, plan, place, ["a"], wait_seconds=0)


@pytest.mark.parametrize(
    ("overlap", "changes", "ids", "said"),
    [
        ("none", {}, ["a"], "looks for no overlap"),
        ("counts", {"most_rows": 1 << 25}, ["a"], "at most 16777216 rows"),
        ("rows", {}, [str(each) for each in range(MOST + 1)], "more IDs than the 6 rows"),
        ("rows", {}, [7], "IDs are texts"),
        ("rows", {}, ["a", "\ud800"], "not valid Unicode"),
    ],
)
def test_what_cannot_be_asked_is_named(
    folder: Path, overlap: str, changes: dict[str, Any], ids: Any, said: str
) -> None:
    plan = msgspec.structs.replace(plan_with(folder, 2, overlap), **changes)
    with pytest.raises(ConfigError, match=said):
        party(folder, plan, 0, ids)


def test_nobody_waits_in_a_circle() -> None:
    """Each begins with the next and answers the one before, and takes up the answers in turn."""
    ends = {(one, other): Link(LONG_SECONDS) for one in range(3) for other in range(3)}
    for one, other in ends:
        ends[one, other].attach(ends[other, one].outgoing())
    pairs = [
        {(at + 1) % 3: Receiver([b"a", b"b"]), (at + 2) % 3: Sender([b"b", b"c"])}
        for at in range(3)
    ]
    acts = [
        functools.partial(
            converse, Pairwise(each, "abc"), {other: ends[at, other] for other in each}
        )
        for at, each in enumerate(pairs)
    ]
    assert at_once(*acts) == [None] * 3
    assert all(each[(at + 1) % 3].matches.tolist() == [1] for at, each in enumerate(pairs))


def test_each_dialogue_is_bound_to_its_two_parties() -> None:
    one, other = Pairwise({1: Receiver([b"a"])}, "ab"), Sender([b"a"])
    one.between(1, "me", "ann")
    hello = one.first_round()[1]
    with pytest.raises(TranscriptError):
        other.receive(hello)
    other = Sender([b"a"])
    other.between(0, "ann", "me")
    assert other.receive(hello)


def test_of_several_the_wrong_one_is_named() -> None:
    alone = Pairwise({1: Sender([b"a"]), 2: Sender([b"a"], max_peer_items=1)}, ("me", "ann", "bo"))
    assert alone.first_round() == {}
    assert alone.awaited == [1, 2]
    hello = Receiver([b"a", b"b"]).first_round()[0]
    with pytest.raises(SizeLimitError, match=r"^bo: the other side brings 2 items"):
        alone.next_round({1: Receiver([b"a"]).first_round()[0], 2: hello})
    assert not alone.done


# -- what is kept --------------------------------------------------------------------------------

OWN: tuple[IDList, IDList] = (["a", "b", "", "a", None], ["c", "a"])


def overlap_of(plan: Plan, place: int = 0) -> FoundOverlap:
    return plain(plan, [OWN] * len(plan.parties), place)


def test_it_is_kept_for_its_owner(folder: Path, tmp_path: Path) -> None:
    plan, path = plan_with(folder, 2, "rows"), tmp_path / "overlap.json"
    file = OverlapFile(path, plan, *OWN)
    assert file.load() is None
    file.save(overlap_of(plan))
    kept = OverlapFile(path, plan, np.array(OWN[0], object), OWN[1]).load()
    assert kept == overlap_of(plan)
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_file_that_is_not_this_partys_is_named(folder: Path, tmp_path: Path) -> None:
    plan, path = plan_with(folder, 2, "rows"), tmp_path / "overlap.json"
    file = OverlapFile(path, plan, *OWN)
    file.save(overlap_of(plan))
    good = path.read_bytes()
    for wrong in (b"", good[:-1], good[1:], good.replace(b"[0,1,3]", b"[0,1,5]"), b"{}"):
        assert wrong != good
        path.write_bytes(wrong)
        with pytest.raises(DecodeError, match="damaged or of another plan"):
            file.load()
    path.write_bytes(good)
    with pytest.raises(DecodeError, match="damaged or of another plan"):
        OverlapFile(path, msgspec.structs.replace(plan, rounds=9), *OWN).load()
    train, tests = OWN
    for other in ((train[::-1], tests), (train, None), (train, []), (train[:-1], tests)):
        with pytest.raises(ConfigError, match="of other rows"):
            OverlapFile(path, plan, *other).load()


@pytest.mark.parametrize("having", [(), (0,), (1,), (0, 1)])
def test_if_anybody_lacks_it_all_find_it(
    folder: Path, tmp_path: Path, having: tuple[int, ...]
) -> None:
    plan = plan_with(folder, 2, "rows")
    meeting = Training(folder / "2", 2, plan)
    files = [OverlapFile(tmp_path / str(at), plan, *OWN) for at in range(2)]
    for at in having:
        files[at].save(overlap_of(plan, at))
    asked = []

    def settle(at: int) -> FoundOverlap:
        def find() -> FoundOverlap:
            asked.append(at)
            return party(folder, plan, at, *OWN)

        channel = meeting.channel(at, wait_seconds=LONG_SECONDS)
        channel.join()
        return settled_overlap(files[at], find, channel.exchange, begun=having == (0, 1))

    ended = at_once(functools.partial(settle, 0), functools.partial(settle, 1))
    assert ended == [overlap_of(plan, 0), overlap_of(plan, 1)]
    assert [each.load() for each in files] == ended
    assert sorted(asked) == ([] if having == (0, 1) else [0, 1])


def test_it_is_looked_for_some_times_only(folder: Path, tmp_path: Path) -> None:
    """A party that says that it lacks it may ask about other IDs each time."""
    plan = plan_with(folder, 2, "rows")
    file, searches = OverlapFile(tmp_path / "overlap", plan, *OWN), list[FoundOverlap]()

    def find() -> FoundOverlap:
        assert file.load() is None  # what a kill leaves here is of no search before
        searches.append(overlap_of(plan))
        return searches[-1]

    def lost(topic: str, word: bytes) -> tuple[bytes, bytes]:
        return word, b"lacking" if topic == "overlap" else b"kept"

    for _ in range(MOST_SEARCHES):
        settled_overlap(file, find, lost, begun=False)
    with pytest.raises(PeerError, match="looked for 10 times, and somebody lacks it again"):
        settled_overlap(OverlapFile(tmp_path / "overlap", plan, *OWN), find, lost, begun=False)
    assert len(searches) == MOST_SEARCHES


def test_who_lacks_it_once_training_began_is_named(folder: Path, tmp_path: Path) -> None:
    plan = plan_with(folder, 2, "rows")
    file = OverlapFile(tmp_path / "overlap", plan, *OWN)
    file.save(overlap_of(plan))
    refused = pytest.fail
    with pytest.raises(PeerError, match="party-1 has lost the overlap"):
        settled_overlap(file, refused, lambda topic, word: (word, b"lacking"), begun=True)
    with pytest.raises(PeerError, match="party-1 does not keep the overlap"):
        settled_overlap(
            file, lambda: overlap_of(plan), lambda topic, word: (word, b"lacking"), begun=False
        )
    (tmp_path / "overlap").unlink()
    with pytest.raises(PeerError, match="this party does not keep"):  # what a server may say
        settled_overlap(file, refused, lambda topic, word: (b"kept", b"kept"), begun=False)


# -- rows that are not trained on ----------------------------------------------------------------


def dataset(rows: int) -> Dataset:
    draw = np.random.default_rng(1)
    return Dataset(
        kind="table", name="t", source="t", is_surrogate=False, sha256="0" * 64,
        ids=np.array([str(row) for row in range(rows)]),
        features=draw.uniform(size=(rows, 2)).astype(np.float32),
        labels=np.arange(rows, dtype=np.int64) % 2, class_names=("no", "yes"),
        encoder=WITH_IDS, cleaning=None,
    )  # fmt: skip


OUT = np.array([False, True, False, True, True, False])


def test_rows_are_dropped_where_their_number_is_no_promise() -> None:
    rows = dataset(6)
    less = leave_out(rows, OUT, private=False)
    assert less.ids is not None
    assert less.ids.tolist() == ["0", "2", "5"]
    assert less.labels.tolist() == [0, 0, 1]
    assert np.array_equal(less.features, rows.features[~OUT])
    assert leave_out(rows, None, private=False) is rows
    with pytest.raises(ConfigError, match="6 rows have an overlap of 5"):
        leave_out(rows, OUT[:5], private=False)
    with pytest.raises(ConfigError, match="nothing is left"):
        leave_out(rows, np.ones(6, np.bool_), private=False)


def tensors(rows: Dataset) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.from_numpy(rows.features), torch.from_numpy(rows.labels)


def private_sum(rows: Dataset, model: nn.Module) -> np.ndarray:
    """The sum of a step that draws all rows, before any noise."""
    plan = PrivacyPlan(
        noise="central", rows=(len(rows),), sampling_rates=(1.0,), rounds=3, steps_per_round=(1,),
        l2_clip_norm=0.7, noise_multiplier=1.0, delta=1e-5, privacy_unit="one row",
        placements=((1,),), quorum=1, dimension=sum(each.numel() for each in model.parameters()),
    )  # fmt: skip
    return RecordGradients(model, *tensors(rows), plan, 0, SecretRandomness()).contribute(1).flat


@pytest.mark.parametrize(
    "model",
    [
        nn.Linear(2, 2),
        nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2)),
        nn.Sequential(nn.Linear(2, 3), nn.LayerNorm(3), nn.Tanh(), nn.Linear(3, 2)),
    ],
)
@pytest.mark.parametrize("centred", [False, True])
def test_in_private_training_rows_stay_and_add_exactly_nothing(
    model: nn.Module, centred: bool
) -> None:
    rows = dataset(6)
    kept = leave_out(rows, OUT, private=True)
    nobody = leave_out(rows, np.ones(6, np.bool_), private=True)
    assert len(kept) == len(nobody) == 6
    assert np.array_equal(kept.features[~OUT], rows.features[~OUT])
    if centred:
        rows, kept, nobody = rows.centred(), kept.centred(), nobody.centred()
    clipper = GradientClipper(model, *tensors(rows), 0.7, expected_rows=6)
    others = clipper.clipped_sum(~OUT).flat
    assert others.any()
    assert np.array_equal(private_sum(kept, model), others)
    assert not np.array_equal(private_sum(rows, model), others)
    assert not private_sum(nobody, model).any()
