"""Random oblivious transfers: one seed of two, of any number of transfers, for one use each."""

import pickle

import pytest

from psi import ConfigError, DecodeError, InvalidPointError
from psi.protocols.transfers import SEED_BYTES, BaseOTReceiver, BaseOTSender, TransferLabels
from psi.protocols.vole.rounds import LABELS
from tests.psi.peers import BAD_POINTS

IDENTITY = bytes(range(32))
OTHERS = TransferLabels(b"test point ", b"test transfer ", b"test seed ")


@pytest.mark.parametrize(
    ("transfers", "labels"), [(1, OTHERS), (7, OTHERS), (128, OTHERS), (512, LABELS)]
)
def test_a_transfer_gives_the_chosen_seed_and_only_that(
    transfers: int, labels: TransferLabels
) -> None:
    sender = BaseOTSender(IDENTITY, transfers, labels)
    receiver = BaseOTReceiver(IDENTITY, transfers, labels)
    assert len(receiver.choices) == sender.choices_bytes == 64 * transfers
    both, chosen = sender.seeds(receiver.choices), receiver.seeds(sender.public.tobytes())
    assert len({*both[0], *both[1]}) == 2 * transfers
    assert {len(seed) for seeds in both for seed in seeds} == {SEED_BYTES}
    assert [both[bit][number] for number, bit in enumerate(receiver.bits)] == chosen
    if transfers == 512:
        assert 150 < receiver.bits.sum() < 362  # 2^-64 for fair bits


@pytest.mark.parametrize(
    ("identity", "labels"),
    [
        (bytes(32), OTHERS),
        (IDENTITY, TransferLabels(b"test point ", b"another transfer ", b"test seed ")),
        (IDENTITY, TransferLabels(b"test point ", b"test transfer ", b"another seed ")),
    ],
)
def test_transfers_of_another_session_or_use_do_not_fit(
    identity: bytes, labels: TransferLabels
) -> None:
    sender, receiver = BaseOTSender(IDENTITY, 9, OTHERS), BaseOTReceiver(identity, 9, labels)
    both = sender.seeds(receiver.choices)
    assert {*both[0], *both[1]}.isdisjoint(receiver.seeds(sender.public.tobytes()))


def test_choices_and_keys_that_are_none() -> None:
    sender, receiver = BaseOTSender(IDENTITY, 3, OTHERS), BaseOTReceiver(IDENTITY, 3, OTHERS)
    for wrong in (receiver.choices[:-1], receiver.choices[:-64], receiver.choices + bytes(64), b""):
        with pytest.raises(DecodeError, match="another number"):
            sender.seeds(wrong)
    key = sender.public.tobytes()
    for wrong in (b"", key[:-1], key + b"\0", key + key):
        with pytest.raises(DecodeError, match="32 bytes"):
            receiver.seeds(wrong)
    for point in BAD_POINTS.values():
        with pytest.raises(InvalidPointError):
            sender.seeds(receiver.choices[:-32] + point)
        with pytest.raises(InvalidPointError):
            receiver.seeds(point)


@pytest.mark.parametrize("transfers", [0, -1, (1 << 16) + 1])
@pytest.mark.parametrize("side", [BaseOTSender, BaseOTReceiver])
def test_numbers_out_of_range(
    side: type[BaseOTSender] | type[BaseOTReceiver], transfers: int
) -> None:
    with pytest.raises(ConfigError, match="transfers"):
        side(IDENTITY, transfers, OTHERS)


@pytest.mark.parametrize("side", [BaseOTSender, BaseOTReceiver])
def test_secrets_are_neither_shown_nor_pickled(
    side: type[BaseOTSender] | type[BaseOTReceiver],
) -> None:
    one = side(IDENTITY, 2, OTHERS)
    assert repr(one) == f"{side.__name__}(2 transfers)"
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(one)
