"""Which sums a server may have opened, and what follows from all of them together.

False dropouts and cohorts that rotate are attacks of a server with one party: over rounds in which
parties send about the same, sums that differ by little show one party's update. The faults here
are cohorts that a server picks freely, cohorts that only differ by much, and groups that are too
small by one.
"""

import random
from collections.abc import Callable, Collection, Sequence
from fractions import Fraction
from itertools import chain, combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privfed import secagg
from privfed.errors import ConfigError, QuorumError
from privfed.he import Integers
from privfed.secagg import rounds, wire
from privfed.secagg.adversary import Adversary
from privfed.secagg.groups import Places
from privfed.secagg.rounds import RoundID, check_senders
from tests.secagg.colluders import opened, sent
from tests.secagg.parties import Round, parameters, updates
from tests.secagg.totals import KeyUses

SHAPES: dict[str, tuple[int, ...]] = {"w": (20, 10)}
ROUNDS = 200
Senders = frozenset[int]
Sums = dict[Senders, Integers]


def subsets(places: Sequence[int]) -> list[Senders]:
    sizes = range(1, len(places) + 1)
    return [frozenset(each) for each in chain(*(combinations(places, size) for size in sizes))]


# One party's update, from sums over others.

HELPER, VICTIM = 0, 1


def rotation(sums: Sums, own: Integers) -> Integers:
    """Party 1's update, from the sums over each two of three parties and the helper."""
    a, b, c = (sums[frozenset((HELPER, *pair))] - own for pair in ((1, 2), (1, 3), (2, 3)))
    found: Integers = (a + b - c) // 2
    return found


def dropout(sums: Sums, own: Integers) -> Integers:
    """Party 1's update, from the sums with it and without it."""
    return sums[frozenset(range(4))] - sums[frozenset((HELPER, 2, 3))]


ATTACKS: dict[str, tuple[Callable[[Sums, Integers], Integers], list[tuple[int, ...]]]] = {
    "rotation": (rotation, [(0, 1, 2), (0, 1, 3), (0, 2, 3)]),
    "false dropout": (dropout, [(0, 1, 2, 3), (0, 2, 3)]),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_cohorts_that_a_server_picks_show_one_partys_update(name: str) -> None:
    """The fault: cohorts for plans with noise, and updates that carry none."""
    combine, cohorts = ATTACKS[name]
    params = parameters(4, SHAPES, max_weight=None, adversary="lying-server+1", noise_shares=True)
    parties = Round.of(params)
    values = [sent(params, each) for each in updates(4, SHAPES)]
    sums, transcript = Sums(), b""
    for number, cohort in enumerate(cohorts, 1):
        server = secagg.Aggregator(params, number, cohort)
        for place in cohort:
            server.add(
                parties.encryptors[place].encrypt_integers(
                    {"w": values[place].reshape(SHAPES["w"])},
                    round_id=number,
                    cohort=cohort,
                    previous=transcript,
                )
            )
        result = parties.decryptor.decrypt_sums(server.total(), number, cohort)
        sums[frozenset(cohort)], transcript = result.sums["w"].reshape(-1), result.transcript
    assert np.array_equal(combine(sums, values[HELPER]), values[VICTIM])


def test_updates_without_noise_are_not_sent_where_cohorts_are_free() -> None:
    """What the attacks above need is refused by name, as far as a program can tell."""
    params = parameters(4, SHAPES, max_weight=None, adversary="lying-server+1", noise_shares=True)
    encryptor = Round.of(params).encryptors[0]
    for send in (encryptor.encrypt, encryptor.encrypt_blocks):
        with pytest.raises(ConfigError, match="integers that carry noise"):
            send(updates(1, SHAPES)[0], round_id=1)
    with pytest.raises(ConfigError, match="max_weight=None"):
        parameters(4, SHAPES, adversary="lying-server+1", noise_shares=True)


@pytest.mark.parametrize("name", ATTACKS)
def test_groups_come_whole_or_not_at_all(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same server: left out by one that keeps to the protocol, refused by every holder."""
    _, cohorts = ATTACKS[name]
    params = parameters(8, SHAPES, max_weight=None, adversary="lying-server+1", group_sizes=(4, 4))
    parties = Round.of(params)
    update = updates(8, SHAPES)
    holders = [secagg.Decryptor(params, parties.key, "memory") for _ in params.roster]
    others = range(4, 8)  # a group that is there makes the quorum
    uses = KeyUses(monkeypatch)
    uploads = parties.uploads(update)
    for cohort in cohorts:
        server = secagg.Aggregator(params, 1)
        for place in (*cohort, *others):
            server.add(uploads[place])
        whole = len(cohort) == 4
        assert len(server.senders) == 4 + 4 * whole
        assert len(server.waiting) == len(cohort) * (not whole)
        if whole:
            continue
        for names in ((*cohort, *others), cohort):
            total = without_checks(params, [uploads[place] for place in names])
            for holder in holders:
                for stream in (total, iter([total])):
                    with pytest.raises(QuorumError):
                        holder.decrypt(stream, 1)
                assert holder.failed == ()
    assert uses.count == 0


def without_checks(params: secagg.Parameters, uploads: Sequence[bytes]) -> bytes:
    """The total of a server that lies, over whichever uploads."""
    server = secagg.Aggregator(params, 1)
    for upload in uploads:
        server.add(upload)
    for sums in server._waiting.values():
        for part, each in sums.items():
            if part in server._whole:
                known = server._whole[part]
                known.accumulator = known.accumulator.plus_sum(each.accumulator)
                known.entries.update(each.entries)
            else:
                server._whole[part] = each
    return b"".join(server._sum_messages(wire.Kind.TOTAL))


def test_a_party_with_the_key_reads_no_sum_but_a_groups() -> None:
    """It checks nothing, and adds any uploads of two rounds in which all sent the same."""
    params = parameters(4, SHAPES, max_weight=None, adversary="lying-server+1")
    parties, update = Round.of(params), updates(4, SHAPES, params.clip_range / 3)
    values = [sent(params, each) for each in update]
    first, previous = parties.uploads(update), b""
    previous = parties.decryptor.decrypt(parties.total(first), 1).transcript
    second = parties.uploads(update, round_id=2, previous=previous)
    for chosen in subsets(range(8)):
        picked = [[*first, *second][place] for place in sorted(chosen)]
        right = sum(values[place % 4] for place in chosen)
        matches = int((opened(params, parties.key, picked) == right).sum())
        halves = chosen & set(range(4)), chosen - set(range(4))
        if all(len(half) in (0, 4) for half in halves):
            assert matches > 0.9 * params.values  # tags of two rounds carry into some
        else:
            # Of 200 uniform values of 18 bits, five are right by chance in 1 of 10^17 sums.
            assert matches < 5


# All sums together.


def reduced(rows: Collection[Sequence[int]]) -> list[list[Fraction]]:
    """The reduced row echelon form over the rationals."""
    left, done = [[Fraction(value) for value in row] for row in rows], list[list[Fraction]]()
    for column in range(len(next(iter(rows), ()))):
        pivot = next((row for row in left if row[column]), None)
        if pivot is None:
            continue
        left.remove(pivot)
        pivot = [value / pivot[column] for value in pivot]
        left = [_cleared(row, pivot, column) for row in left]
        done = [*(_cleared(row, pivot, column) for row in done), pivot]
    return done


def _cleared(row: list[Fraction], pivot: list[Fraction], column: int) -> list[Fraction]:
    return [value - row[column] * by for value, by in zip(row, pivot, strict=True)]


def isolated(sums: Collection[Senders], parties: int, known: Collection[int]) -> set[int]:
    """Who alone is left in some combination of these sums, less those who are known."""
    others = [place for place in range(parties) if place not in known]
    rows = {tuple(int(place in senders) for place in others) for senders in sums}
    # A combination is about one party alone exactly if a reduced row is.
    return {
        others[next(at for at, value in enumerate(row) if value)]
        for row in reduced(rows)
        if sum(map(bool, row)) == 1
    }


def accepted(params: secagg.Parameters, cohorts: Collection[Senders]) -> set[Senders]:
    """The senders over whom a holder opens a total."""
    of, found = RoundID.of(params, 1, None), set()
    for senders in cohorts:
        try:
            check_senders(params, of, senders)
        except QuorumError:
            continue
        found.add(senders)
    return found


def broken(params: secagg.Parameters, cohorts: Collection[Senders]) -> bool:
    """Whether some parties, as many as may help the server, isolate another one with it."""
    parties, sums = len(params.roster), accepted(params, cohorts)
    return any(
        isolated(sums, parties, known)
        for known in combinations(range(parties), params.assumed.colluders)
    )


def masked(parties: int, colluders: int, *sizes: int) -> secagg.Parameters:
    adversary = f"lying-server+{colluders}" if colluders else "lying-server"
    return parameters(
        parties, SHAPES, max_weight=None, adversary=adversary, group_sizes=sizes or None
    )


PLANS = [(6, 0, ()), (9, 1, ()), (10, 1, (3, 7)), (10, 2, (4, 6)), (10, 3, (5, 5))]


@pytest.mark.parametrize(("parties", "colluders", "sizes"), PLANS)
def test_of_all_cohorts_there_are_none_isolates_a_party(
    parties: int, colluders: int, sizes: tuple[int, ...]
) -> None:
    """Every set of senders, so every choice of a server over however many rounds."""
    params = masked(parties, colluders, *sizes)
    every = subsets(range(parties))
    assert accepted(params, every)
    assert not broken(params, every)


@settings(max_examples=15, deadline=None)
@given(st.data())
def test_two_hundred_rounds_of_any_plan_isolate_nobody(data: st.DataObject) -> None:
    colluders = data.draw(st.integers(0, 2))
    sizes = data.draw(st.lists(st.integers(colluders + 2, colluders + 4), min_size=1, max_size=4))
    params = masked(sum(sizes), colluders, *sizes)
    rng = random.Random(data.draw(st.integers(0, 2**32)))  # noqa: S311  (an order, no secret)
    cohorts = set()
    for _ in range(ROUNDS):
        base = set(chain(*rng.sample(params.groups, rng.randint(0, len(params.groups)))))
        changed = rng.sample(range(sum(sizes)), rng.choice((0, 0, 1, 2, sum(sizes) // 2)))
        cohorts.add(frozenset(base.symmetric_difference(changed)))
    assert not broken(params, cohorts)


def test_groups_of_one_less_isolate_a_party(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fault: groups of as many as may collude and one; the same computation finds it."""
    monkeypatch.setattr(Adversary, "least_together", property(lambda self: self.colluders + 1))
    for parties, colluders in ((6, 1), (9, 2)):
        assert broken(masked(parties, colluders), subsets(range(parties)))


def test_cohorts_drawn_at_random_isolate_a_party(monkeypatch: pytest.MonkeyPatch) -> None:
    params = masked(9, 1)
    rng = random.Random(1)  # noqa: S311  (an order, no secret)
    drawn = [frozenset(rng.sample(range(9), rng.randint(3, 9))) for _ in range(ROUNDS)]
    assert not broken(params, drawn)
    monkeypatch.setattr(rounds, "check_whole", lambda *_: None)
    assert broken(params, drawn)
    assert isolated(accepted(params, drawn), 9, (HELPER,)) == set(range(1, 9))


def test_cohorts_three_apart_isolate_every_party(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fault: a least difference in the place of groups; seven cohorts of seven parties."""
    seen = list[Senders]()

    def three_apart(_: Sequence[Places], senders: Collection[int]) -> None:
        if any(len(set(senders) ^ before) < 3 for before in seen):
            raise QuorumError("too near to one before")
        seen.append(frozenset(senders))

    params = masked(7, 1)
    # Each with the helper; the lines of a plane of seven points, one of which is nobody.
    lines = [(0, 1, 2), (0, 3, 4), (0, 5, 6), (1, 3, 5), (1, 4, 6), (2, 3, 6), (2, 4, 5)]
    cohorts = [frozenset((HELPER, *(place for place in line if place))) for line in lines]
    assert not broken(params, cohorts)
    monkeypatch.setattr(rounds, "check_whole", three_apart)
    found = accepted(params, cohorts)
    assert len(found) == 7
    assert isolated(found, 7, (HELPER,)) == set(range(1, 7))


def test_the_decryptor_opens_just_what_the_check_lets_through() -> None:
    """Totals over every set of six parties, made without checks, by real uploads."""
    params = masked(6, 1)
    parties = Round.of(params)
    uploads, every = parties.uploads(updates(6, SHAPES)), subsets(range(6))
    found = set()
    for senders in every:
        total = without_checks(params, [uploads[place] for place in sorted(senders)])
        holder = secagg.Decryptor(params, parties.key, "memory")
        try:
            holder.decrypt(total, 1)
        except QuorumError:
            continue
        found.add(senders)
    assert found == accepted(params, every)
    assert found == {frozenset(range(3)), frozenset(range(3, 6)), frozenset(range(6))}
