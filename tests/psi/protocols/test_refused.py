"""What every protocol refuses, sent by a hostile or a mistaken peer; a named error, no result.

| refused | where |
| --- | --- |
| encodings that are not canonical, negative, off the curve, with the top bit; the identity | `test_invalid_points` in hostile (ecdh), vole_hostile, cardinality, sums, private_ids, unbalanced, multiparty; encrypted values: `test_invalid_values_...` in sums |
| repeated points | `test_repeated_points` in the same |
| one's own points sent back | `test_our_own_...` in the same, where both sides send points |
| repeated or unsorted tags | `test_repeated_...tags` in hostile, vole_hostile, cardinality; `test_tags_that_lie` in unbalanced |
| a match that was not asked for | `test_claims_that_are_none` in hostile; `test_a_claim_is_of...` in cheats |
| a blinding key that the side does not show to know | `test_both_sides_prove_their_keys` in cheats |
| wrong counts, cut and extended messages, foreign bytes, other versions, messages out of turn | `test_no_message_but_the_due_one`, here; `test_what_every_message_is_refused_for` in multiparty |
| more or fewer items than announced | `test_another_number_of_items_than_announced`, here |
| other settings | `test_other_settings`, here and in multiparty |
| sets over the agreed size | `test_sets_over_the_agreed_size`, here; multiparty |
| another protocol, the same role twice | `test_another_protocol...`, `test_two_of_one_role`, here |
| replays: a message, a whole side of a session | `test_no_message_but_the_due_one`, `test_a_recorded_peer`, here; `test_replays` in multiparty |
| another key than the session's | `test_unconfirmed_content`, `test_another_key...` in all of them |
| a sum of fewer than the minimum, at either side, before it is asked for | sums |
| a single encrypted value, a sum that cannot be | sums |
| hostile numbers of duplicates | `test_hostile_multiplicities` in hostile, vole_hostile |
| noise that is none, or that takes more points than announced; noisy numbers and sums that cannot be | noisy |
| matches that are dummies of the other side | padding |
| more sessions or items than a peer may ask | ledger, unbalanced, twoparty, together |
"""  # noqa: E501 - a table

import logging
from typing import Any

import pytest

from psi import (
    DecodeError,
    KeyConfirmationError,
    ParameterMismatchError,
    ProtocolError,
    SizeLimitError,
    StateError,
    TranscriptError,
)
from psi.keyvalue import slots
from tests.psi.fuzzing import check_every_protocol_refuses, stages, stages_of
from tests.psi.peers import (
    HEADER_BYTES,
    LEFT,
    PAIRS,
    RIGHT,
    SEAL_BYTES,
    run,
)

# The store's settings, sizes and limits are those of its own tests.
BETWEEN = [name for name in PAIRS if name != "unbalanced"]


@pytest.mark.parametrize("name", PAIRS)
def test_no_message_but_the_due_one(name: str) -> None:
    check_every_protocol_refuses(stages(name), stages_of(PAIRS[name]))


@pytest.mark.parametrize("name", PAIRS)
def test_other_settings(name: str) -> None:
    for changed in (0, 1):
        parties = PAIRS[name]()
        settings = parties[changed]._parameters
        parties[changed]._parameters = type(settings)(**{**vars(settings), "key_format": "x"})
        with pytest.raises(ParameterMismatchError, match="settings"):
            run(*parties)
        assert not any(party.done for party in parties)


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("strict", [0, 1])
def test_sets_over_the_agreed_size(name: str, strict: int) -> None:
    parties = PAIRS[name]()
    parties[strict]._max_peer_items = len((RIGHT, LEFT)[strict]) - 1
    with pytest.raises(SizeLimitError, match="allows"):
        run(*parties)


@pytest.mark.parametrize("name", BETWEEN)
@pytest.mark.parametrize("liar", [0, 1])
@pytest.mark.parametrize("difference", [-1, 1, 1000])
def test_another_number_of_items_than_announced(name: str, liar: int, difference: int) -> None:
    if name.startswith("vole") and liar == 0 and slots(len(LEFT) + difference) == slots(len(LEFT)):
        pytest.skip("as many slots: nobody can see how many items fill them; limits count slots")
    parties = PAIRS[name]()
    size = parties[liar]._own_size() + difference
    parties[liar]._own_size = lambda: size
    # The other number may be of more messages, too: then another one is due.
    with pytest.raises((DecodeError, KeyConfirmationError, StateError)):
        run(*parties)
    assert not any(party.done for party in parties)


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("other", PAIRS)
def test_another_protocol_is_another_session(name: str, other: str) -> None:
    receiver, sender = PAIRS[name]()[0], PAIRS[other]()[1]
    if receiver.protocol == sender.protocol:
        pytest.skip("one protocol, other settings: above")
    with pytest.raises(TranscriptError):
        sender.receive(receiver.start())


@pytest.mark.parametrize("name", PAIRS)
def test_two_of_one_role(name: str) -> None:
    one, other = PAIRS[name]()[0], PAIRS[name]()[0]
    hello = other.start()
    one.start()
    with pytest.raises(StateError):
        one.receive(hello)


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("recorded", [0, 1])
def test_a_recorded_peer(name: str, recorded: int) -> None:
    # Whoever saw, or was, one side of a session plays it again to a fresh other side.
    played = iter(run(*PAIRS[name]())[recorded::2])
    victim = PAIRS[name]()[1 - recorded]
    victim.start()
    with pytest.raises(ProtocolError):  # noqa: PT012 - the first replayed hello is fresh to it
        for message in played:
            victim.receive(message)
    assert not victim.done


@pytest.mark.parametrize("name", BETWEEN)
def test_keys_are_of_one_session(name: str) -> None:
    blocks: list[set[bytes]] = []
    for _ in range(2):
        bodies = [message[HEADER_BYTES:-SEAL_BYTES] for message in run(*PAIRS[name]())]
        bodies[:2] = [body[32:] for body in bodies[:2]]  # the settings are the same
        blocks.append({body[i : i + 32] for body in bodies for i in range(0, len(body) - 31, 32)})
    assert blocks[0].isdisjoint(blocks[1])


@pytest.mark.parametrize("name", PAIRS)
def test_nothing_is_logged_and_no_error_tells_an_item(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    secret = b"anna@example.org"
    parties: tuple[Any, Any] = PAIRS[name]()
    run(*parties)
    for stop in range(2):
        receiver, sender = PAIRS[name]()
        receiver._items = [secret, *LEFT[1:]]
        hello = sender.receive(receiver.start())
        message = receiver.receive(hello) if stop else receiver.start
        with pytest.raises(ProtocolError) as error:
            sender.receive(message[:-1]) if stop else message()
        assert secret.decode() not in str(error.value)
        assert secret.decode() not in repr(receiver)
    assert not caplog.records
