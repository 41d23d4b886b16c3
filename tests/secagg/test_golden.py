"""Messages that were written once: the wire format of version 3, pinned."""

import hashlib
import json
from typing import Any, cast

import numpy as np
import pytest

from privfed import secagg
from privfed.errors import ReplayError
from privfed.secagg import wire
from tests.secagg import make_golden

VECTORS = json.loads(make_golden.GOLDEN.read_text())


@pytest.fixture(params=VECTORS["cases"])
def case(request: pytest.FixtureRequest) -> dict[str, Any]:
    return cast(dict[str, Any], VECTORS["cases"][request.param])


def test_the_version_is_the_recorded_one() -> None:
    assert VECTORS["version"] == wire.VERSION


def test_identities_and_masks() -> None:
    parties = make_golden.parties()
    assert [party.public.to_bytes().hex() for party in parties] == VECTORS["identities"]
    mask = make_golden.MASKS.words(b"golden name", 100, 2**39)
    assert hashlib.sha256(mask.astype("<u8").tobytes()).hexdigest() == VECTORS["mask_sha256"]


def test_the_sealed_key() -> None:
    params = secagg.Parameters.from_bytes(VECTORS["sealed_parameters"].encode())
    sealed = bytes.fromhex(VECTORS["sealed_key"])
    key, maker, replaces = secagg.open_key(sealed, params, make_golden.parties()[1])
    assert key.to_bytes()[-32:] == hashlib.sha256(b"golden key").digest()
    assert (maker, replaces) == (params.roster[0], b"r" * 16)


def test_parameters_and_keys(case: dict[str, Any]) -> None:
    params = secagg.Parameters.from_bytes(case["parameters"].encode())
    assert params.to_bytes().decode() == case["parameters"]
    assert params.fingerprint.hex() == case["fingerprint"]
    key = secagg.SecretKey.from_bytes(bytes.fromhex(case["key"]))
    assert key.id.hex() == case["key_id"]


def test_recorded_messages_give_the_recorded_sums(case: dict[str, Any]) -> None:
    params = secagg.Parameters.from_bytes(case["parameters"].encode())
    key = secagg.SecretKey.from_bytes(bytes.fromhex(case["key"]))
    uploads = [bytes.fromhex(upload) for upload in case["uploads"]]
    partial, total = make_golden.added(params, uploads)
    assert (partial.hex(), total.hex()) == (case["partial"], case["total"])
    decryptor = secagg.Decryptor(params, key, "memory")
    decryptor.prepare([bytes.fromhex(each) for each in case["announcements"]], 7)
    result = decryptor.decrypt(total, 7)
    for name, values in case["mean"].items():
        assert np.array_equal(result.mean[name].ravel(), np.array(values, np.float32))
    assert result.total_weight == case["total_weight"]
    assert result.transcript.hex() == case["transcript"]


def test_recorded_results_give_the_recorded_sums_and_are_written_again() -> None:
    case = VECTORS["cases"]["packed-opener"]
    params = secagg.Parameters.from_bytes(case["parameters"].encode())
    key = secagg.SecretKey.from_bytes(bytes.fromhex(case["key"]))
    server = secagg.Aggregator(params, 7)
    for upload in case["uploads"]:
        server.add(bytes.fromhex(upload))
    opener = secagg.Decryptor(params, key, "memory")
    opener.decrypt(server.total(), 7)
    for result, party in zip(case["results"], make_golden.parties(), strict=False):
        assert opener.result(party).hex() == result
        server.add_result(bytes.fromhex(result))
    read = secagg.Decryptor(params, key, "memory").decrypt(server.result(), 7)
    assert read.transcript.hex() == case["transcript"]
    for name, values in case["mean"].items():
        assert np.array_equal(read.mean[name].ravel(), np.array(values, np.float32))


def test_recorded_messages_of_an_epoch_are_read(case: dict[str, Any]) -> None:
    params = secagg.Parameters.from_bytes(case["parameters"].encode())
    assert bool(case["epoch"]) == params.masks
    if not params.masks:
        return
    key = secagg.SecretKey.from_bytes(bytes.fromhex(case["key"]))
    first = secagg.Encryptor(params, key, make_golden.parties()[0], "memory")
    own, *others = first.start_epoch(7), *map(bytes.fromhex, case["epoch"][1:])
    first.enter_epoch([own, *others])
    recorded = bytes.fromhex(case["epoch"][0])
    assert len(own) == len(recorded)
    first.start_epoch(7)
    with pytest.raises(ReplayError):
        first.enter_epoch([recorded, *others])


def test_the_recorded_mean_is_that_of_the_updates(case: dict[str, Any]) -> None:
    """By hand: the grid of 2^(bits-1) - 1 steps, weights 100, 200 and 300 of at most 1000."""
    params = secagg.Parameters.from_bytes(case["parameters"].encode())
    limit = 2 ** (params.bits - 1) - 1
    weighted = params.max_weight is not None
    shares = [0.1, 0.2, 0.3] if weighted else [1, 1, 1]
    for name in ("w", "b"):
        values = [make_golden.update(place)[name].ravel() for place in range(3)]
        summed = sum(
            np.rint(each * share * limit / 0.5) for each, share in zip(values, shares, strict=True)
        )
        mean = summed * 0.5 / limit / (0.6 if weighted else 3)
        assert np.allclose(mean, case["mean"][name], rtol=1e-6, atol=0)
