"""A server that lies about what openers signed, before real parties."""

import shutil
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from privfed.errors import ContextMismatchError, PrivFedError
from privfed.integrations.messages import Assignment, PastRound
from privfed.secagg import Aggregator
from tests.integrations.jobs import START, Arrays, same_bits
from tests.integrations.server_in_hand import RUN, Hand

Total = tuple[PastRound, bytes]


def hand_of(folder: Path, parties: int = 4) -> Hand:
    hand = Hand(folder, parties, download="opener")
    hand.greet_all()
    return hand


def uploads(hand: Hand, number: int = 1) -> list[bytes]:
    model = START if number == 1 else None
    return [
        hand.ask(place, "train", number, model=model, step=0.125 * place)[1]
        for place in hand.places
    ]


def expected(hand: Hand) -> Arrays:
    steps = [0.125 * place for place in hand.places]
    return {name: each + np.float32(np.mean(steps)) for name, each in START.items()}


def reads(hand: Hand, place: int, *past: Total) -> Arrays:
    return hand.ask(place, "evaluate", past=past)[0]


def test_openers_and_readers_go_on_together(tmp_path: Path) -> None:
    hand = hand_of(tmp_path / "keys")
    result = hand.joined(1, uploads(hand), [3, 1])
    models = [reads(hand, place, *[result] * (place in (0, 2))) for place in hand.places]
    assert all(same_bits(models[0], each) for each in models)
    for name, each in expected(hand).items():
        assert abs(models[0][name] - each).max() < 1e-3
    after = hand.joined(2, uploads(hand, 2), [0, 1])  # one of each kind
    assert all(
        same_bits(reads(hand, 3, after), reads(hand, place, *[after] * (place == 2)))
        for place in hand.places
    )


def test_what_one_party_signed_is_read_by_nobody(tmp_path: Path) -> None:
    """One may help the server: what it says alone is believed by nobody."""
    hand = hand_of(tmp_path / "keys")
    total = hand.total(1, uploads(hand))
    alone = hand.result(1, total)
    for data in (alone, alone + alone):
        with pytest.raises(PrivFedError):
            reads(hand, 0, (total[0], data))
    assert same_bits(reads(hand, 0), START)
    assert not same_bits(reads(hand, 0, total), START)  # nothing was used up


def test_what_is_changed_or_of_another_round_is_read_by_nobody(tmp_path: Path) -> None:
    hand = hand_of(tmp_path / "keys")
    first = hand.joined(1, uploads(hand), [1, 2])
    for place in (0, 3):
        reads(hand, place, first)
    before = reads(hand, 0)
    of, data = hand.joined(2, uploads(hand, 2), [1, 2])
    third = PastRound(3)
    spots = np.linspace(0, len(data) - 1, 40, dtype=int)
    flipped = [data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :] for at in map(int, spots)]
    lies = [*((of, each) for each in flipped), (of, data[:-1]), (of, data + b"\x00")]
    for each in (*lies, (of, first[1]), (third, data), (of, b"")):
        with pytest.raises(PrivFedError):
            reads(hand, 0, each)
        assert same_bits(reads(hand, 0), before)
    assert not same_bits(reads(hand, 0, (of, data)), before)


def halves(hand: Hand) -> list[tuple[Aggregator, Total]]:
    """What a server makes of two groups of a round: their sums, and a total of each."""
    sent, made = uploads(hand), []
    for part in (sent[:3], sent[3:]):
        together = Aggregator(hand.params, 1)
        for upload in part:
            together.add(upload)
        made.append((together, (PastRound(1), together.total())))
    return made


def opens_both(hand: Hand) -> bool:
    """Whether a party that is asked to open two totals of a round signs both."""
    signed = set()
    for _, total in halves(hand):
        with suppress(PrivFedError):
            signed.add(hand.result(0, total))
    return len(signed) == 2


def forgets(patch: pytest.MonkeyPatch) -> None:
    """Plant parties that forget a round once they have answered."""
    real = Hand.result

    def result(self: Hand, place: int, total: Total, run: str = RUN) -> bytes:
        own, before = self.folder / str(place), self.folder / "before"
        shutil.copytree(own, before)
        try:
            return real(self, place, total, run)
        finally:
            shutil.rmtree(own)
            before.rename(own)

    patch.setattr(Hand, "result", result)


def test_a_party_opens_one_total_of_a_round(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not opens_both(hand_of(tmp_path / "keys", 6))
    forgets(monkeypatch)
    assert opens_both(hand_of(tmp_path / "planted", 6))


def test_who_read_a_result_signs_nothing_of_its_round(tmp_path: Path) -> None:
    """Neither another total, nor the same one, nor what others signed."""
    hand = hand_of(tmp_path / "keys", 6)
    (together, one), (_, other) = halves(hand)
    for place in (1, 2):
        together.add_result(hand.result(place, one))
    result = PastRound(1), together.result()
    model = reads(hand, 0, result)
    for data in (other, one, result):
        with pytest.raises(PrivFedError):
            hand.result(0, data)
    assert same_bits(reads(hand, 0), model)


def test_who_opened_one_total_reads_no_result_of_another(tmp_path: Path) -> None:
    """Nor is its model changed twice by one round."""
    hand = hand_of(tmp_path / "keys", 6)
    (_, one), (together, other) = halves(hand)
    hand.result(0, one)
    model = reads(hand, 0)
    for place in (3, 4):
        together.add_result(hand.result(place, other))
    assert same_bits(reads(hand, 0, (PastRound(1), together.result())), model)
    # And it notices in the next round: its upload names another transcript.
    sent = [hand.ask(place, "train", 2)[1] for place in (0, 3)]
    with pytest.raises(ContextMismatchError):
        hand.total(2, sent)


def test_sums_are_asked_of_the_round_that_was_opened(tmp_path: Path) -> None:
    hand = hand_of(tmp_path / "keys")
    total = hand.total(1, uploads(hand))
    ask = Assignment("open", 2, None, (total[0],), ())
    with hand.party(0) as party:
        party.receive(ask, None, [total[1]])
        with pytest.raises(ContextMismatchError, match="asks for the sums of round 2"):
            party.result(ask)
