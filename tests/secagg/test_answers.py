"""Failures are the key's, whoever meets them; and what all of them together can tell."""

from dataclasses import replace
from itertools import product
from math import log2
from pathlib import Path

import pytest

from privfed import secagg
from privfed.errors import AuthenticationError, ConfigError
from privfed.secagg import answers
from privfed.secagg.state import Journal
from tests.places import DOCS
from tests.secagg.parties import identities, parameters, updates

SHAPES: dict[str, tuple[int, ...]] = {"w": (7, 5), "b": (5,)}
PARTIES = 5


def spoilt(total: bytes, number: int) -> bytes:
    """A total that does not decrypt, another one for each number: c0 is far from where it was."""
    changed = bytearray(total)
    for place in range(1, 6):
        changed[-place] ^= 0x55 + number
    return bytes(changed)


def failures(rounds: int, cohort_of: dict[int, tuple[int, ...]] | None = None) -> list[int]:
    """How many totals fail in each round if the server gives every party a wrong one of its own."""
    params = parameters(PARTIES, SHAPES, max_weight=None)
    key, sent = secagg.generate_keys(params), updates(PARTIES, SHAPES)
    parties = [secagg.Party(params, key, each, "memory") for each in identities(PARTIES)]
    found = []
    for number in range(1, rounds + 1):
        server = secagg.Aggregator(params, number)
        for place in (cohort_of or {}).get(number, range(PARTIES)):
            server.add(parties[place].encrypt(sent[place], round_id=number))
        total, failed = server.total(), 0
        for place, party in enumerate(parties):
            with pytest.raises(AuthenticationError) as caught:
                party.open(spoilt(total, place), round_id=number)
            failed += str(caught.value) == "the total does not decrypt"
            assert failed or "the key is retired" in str(caught.value)
        found.append(failed)
    return found


def test_parties_hear_of_failures_at_the_others() -> None:
    """Three in a round are already enough: all hear of them in the next."""
    assert failures(4) == [PARTIES, 0, 0, 0]


def test_without_the_others_marks_each_counts_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Journal, "hear", lambda *_: None)
    assert failures(4) == [PARTIES, PARTIES, PARTIES, 0]


def test_one_total_that_all_parties_meet_is_one_failure() -> None:
    """A server learns the same from each: garbage to all is no way to retire a key at once."""
    params = parameters(PARTIES, SHAPES, max_weight=None)
    key, sent = secagg.generate_keys(params), updates(PARTIES, SHAPES)
    parties = [secagg.Party(params, key, each, "memory") for each in identities(PARTIES)]
    for number in range(1, 6):
        uploads = [p.encrypt(each, round_id=number) for p, each in zip(parties, sent, strict=True)]
        total = secagg.simulation.serve(params, number, uploads).total()
        for party in parties:
            match = "does not decrypt$" if number <= 3 else "the key is retired"
            with pytest.raises(AuthenticationError, match=match):
                party.open(spoilt(total, 0))


def test_what_was_heard_is_passed_on_and_survives_a_restart(tmp_path: Path) -> None:
    """Party 0 meets failures, party 1 hears of them, and party 2 hears of them from party 1."""
    params = parameters(3, SHAPES, max_weight=None, min_clients=2)
    key, sent = secagg.generate_keys(params), updates(3, SHAPES)

    def party(place: int) -> secagg.Party:
        return secagg.Party(params, key, identities(3)[place], tmp_path / str(place))

    def run(number: int, senders: tuple[int, ...]) -> bytes:
        uploads = []
        for place in senders:
            with party(place) as one:
                uploads.append(one.encrypt(sent[place], round_id=number))
        return secagg.simulation.serve(params, number, uploads).total()

    def meet(place: int, total: bytes, number: int, wrong: bool = True) -> str:
        try:
            with party(place) as one:
                one.open(spoilt(total, 0) if wrong else total, round_id=number)
        except AuthenticationError as error:
            return str(error)
        return "opened"

    for number in (1, 2):
        assert "not decrypt" in meet(0, run(number, (0, 1)), number)
    assert meet(1, run(3, (0, 1)), 3, wrong=False) == "opened"
    total = run(4, (1, 2))
    assert meet(2, total, 4) == "the total does not decrypt"  # with the two heard of, the third
    assert "retired" in meet(2, run(5, (1, 2)), 5, wrong=False)
    assert "retired" in meet(1, run(6, (1, 2)), 6, wrong=False)


@pytest.mark.parametrize(
    "failed", [("x" * 8,), (b"short",), (bytes(8),) * 4, 3, b"12345678", [None]], ids=str
)
def test_marks_that_are_none(failed: object) -> None:
    params = parameters(2, SHAPES, max_weight=None)
    encryptor = secagg.Encryptor(params, secagg.generate_keys(params), identities(1)[0], "memory")
    with pytest.raises(ConfigError, match=r"Decryptor\.failed"):
        encryptor.encrypt(updates(1, SHAPES)[0], round_id=1, failed=failed)  # type: ignore[arg-type]


def histories(holders: int, rounds: int) -> set[tuple[tuple[bool, ...], ...]]:
    """All that a server can see: who fails in each round, until a round begins with three."""
    seen = set()
    for history in product(product((False, True), repeat=holders), repeat=rounds):
        answered, before = [], 0
        for one in history:
            if before >= 3:
                break
            answered.append(one)
            before += sum(one)
        seen.add(tuple(answered))
    return seen


@pytest.mark.parametrize(("holders", "rounds"), [(1, 1), (1, 6), (2, 5), (3, 4), (4, 3), (7, 2)])
def test_the_bits_that_answers_tell_bound_how_many_there_are(holders: int, rounds: int) -> None:
    count = log2(len(histories(holders, rounds)))
    assert count <= answers.answer_bits(holders, rounds) + 1e-9
    assert count <= answers.answer_bits(holders, rounds, everybody=False) + 1e-9


def test_told_bits() -> None:
    assert answers.told_bits(10, 0) == 0
    assert answers.told_bits(10, 10) == answers.told_bits(10, 12) == 10
    assert answers.told_bits(4, 2) == log2(1 + 4 + 6)


def test_what_remains_by_scheme_and_parties() -> None:
    base = parameters(10, SHAPES)
    left = answers.remaining_bits
    assert 215 < left(base, 1000) < 217
    assert left(base, 1) == 251  # each of ten answers at most a bit
    assert left(base, 1000, everybody=False) < left(base, 1000)
    assert left(replace(base, download="summed"), 1000) == left(base, 1000)
    assert left(parameters(1000, SHAPES, max_weight=None), 1000) == 0
    for covered in (
        replace(base, download="summed", cover_c0=True),
        replace(base, scheme="slots"),
        parameters(1000, SHAPES, download="summed", cover_c0=True, max_weight=None),
    ):
        assert left(covered, 10**6, everybody=False) == answers.LATTICE_BITS
    for nothing in ("ckks", "reference"):
        assert left(parameters(10, SHAPES, scheme=nothing), 1) == 0
    with pytest.raises(ConfigError, match="rounds"):
        left(base, 0)


def test_the_threat_models_table_is_what_the_function_says() -> None:
    page = (DOCS / "threat-model.md").read_text()
    table = page.partition("<!-- remaining table -->\n")[2].partition("<!-- end of")[0]
    head, _, *rows = table.splitlines()
    rounds = [int(cell.split()[0].replace(",", "")) for cell in head.split(" | ")[1:]]
    assert rounds == [100, 1000, 10_000]
    assert len(rows) == 6
    for row in rows:
        first, *cells = row.strip("| ").split(" | ")
        clients = int(first.removeprefix("M = "))
        params = parameters(clients, SHAPES, download="seeds", max_weight=None)
        for number, cell in zip(rounds, cells, strict=True):
            left = [
                answers.remaining_bits(params, number, everybody=all_) for all_ in (True, False)
            ]
            assert cell == " / ".join(str(int(bits)) for bits in left)
