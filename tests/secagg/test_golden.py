"""Messages that were written once: the wire format of version 2, pinned."""

import hashlib
import json
from typing import Any, cast

import numpy as np
import pytest

from privfed import secagg
from privfed.secagg import wire
from privfed.secagg.rounds import RoundID
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
    params = make_golden.parameters(pairwise_masks=True, scheme="packed")
    encryptor = secagg.Encryptor(params, secagg.generate_keys(params), parties[0])
    assert encryptor._masks  # noqa: SLF001  (the mask itself is recorded)
    mask = encryptor._masks.words(b"golden name", RoundID.of(params, 1, None), 100, 2**39)  # noqa: SLF001  (as above)
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
    leaf, root = secagg.Aggregator(params, 7), secagg.Aggregator(params, 7)
    for upload in uploads[:2]:
        leaf.add(upload)
    assert leaf.partial().hex() == case["partial"]
    root.add_partial(bytes.fromhex(case["partial"]))
    root.add(uploads[2])
    total = root.total()
    assert total.hex() == case["total"]
    decryptor = secagg.Decryptor(params, key)
    decryptor.prepare([bytes.fromhex(each) for each in case["announcements"]], 7)
    result = decryptor.decrypt(total, 7)
    for name, values in case["mean"].items():
        assert np.array_equal(result.mean[name].ravel(), np.array(values, np.float32))
    assert result.total_weight == case["total_weight"]
    assert result.transcript.hex() == case["transcript"]


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
