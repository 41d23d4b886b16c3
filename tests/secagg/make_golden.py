"""Writes tests/vectors/secagg_wire_v3.json. Run it only for a new version of the wire format.

The file holds what this package wrote once, with the secrets of its three made-up parties: a
later version must read the same messages to the same numbers, or call itself another version.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from privfed import secagg
from privfed.keys import Identity
from privfed.secagg.masks import Masks
from tests.places import VECTORS

GOLDEN = VECTORS / "secagg_wire_v3.json"
CASES: dict[str, dict[str, Any]] = {
    "packed": {"scheme": "packed", "adversary": "lying-server"},
    "packed-masks-summed": {"scheme": "packed", "download": "summed"},
    "packed-summed-c0": {
        "scheme": "packed",
        "adversary": "honest-server",
        "download": "summed",
        "cover_c0": True,
    },
    "packed-opener": {"scheme": "packed", "download": "opener"},
    "packed-no-weights-8-bits": {"scheme": "packed", "bits": 8, "max_weight": None},
    "reference": {"scheme": "reference", "adversary": "honest-server"},
}


def identity(seed: str) -> Identity:
    """A party whose keys are hashes of a name: for these vectors only."""
    sign, mask = (hashlib.sha256(f"{seed} {what}".encode()).digest() for what in ("sign", "mask"))
    return Identity(
        Ed25519PrivateKey.from_private_bytes(sign), X25519PrivateKey.from_private_bytes(mask)
    )


MASKS = Masks(1, {place: hashlib.sha256(bytes([place])).digest() for place in (0, 2)})


def parties() -> list[Identity]:
    return [identity(f"golden party {place}") for place in range(3)]


def parameters(**changes: Any) -> secagg.Parameters:
    settings: dict[str, Any] = {
        "job": "golden",
        "layout": secagg.Layout((("w", (2, 3)), ("b", ())), ("steps",)),
        "clip_range": 0.5,
        "bits": 16,
        "max_clients": 3,
        "max_weight": 1000,
        "roster": tuple(party.public for party in parties()),
        "aggregators": (identity("golden aggregator").public,),
    }
    return secagg.Parameters(**(settings | changes))


def update(place: int) -> dict[str, np.ndarray]:
    grid = np.array([0.5, -0.5, 0.25, -0.125, 0.0, 0.001])
    return {"w": (grid * (1 if place else -1)).reshape(2, 3), "b": np.array(0.1 * place)}


def added(params: secagg.Parameters, uploads: Sequence[bytes]) -> tuple[bytes, bytes]:
    """A partial sum of all, and the root's total of it."""
    leaf = secagg.Aggregator(params, 7, identity=identity("golden aggregator"))
    for upload in uploads:
        leaf.add(upload)
    root = secagg.Aggregator(params, 7)
    root.add_partial(leaf.partial())
    return leaf.partial(), root.total()


def recorded(changes: Mapping[str, Any]) -> dict[str, Any]:
    params = parameters(**changes)
    key = secagg.SecretKey(hashlib.sha256(b"golden key").digest(), params.fingerprint)
    encryptors = [secagg.Encryptor(params, key, party, "memory") for party in parties()]
    epoch = []
    if params.masks:
        epoch = [encryptor.start_epoch(7) for encryptor in encryptors]
        for encryptor in encryptors:
            encryptor.enter_epoch(epoch)
    announced = [encryptor.announce(7) for encryptor in encryptors]
    previous = b"" if params.assumed.lies else hashlib.sha256(b"golden transcript").digest()
    uploads = [
        encryptor.encrypt(
            update(place),
            weight=None if params.max_weight is None else 100 * (place + 1),
            round_id=7,
            previous=previous,
        )
        for place, encryptor in enumerate(encryptors)
    ]
    partial, total = added(params, uploads)
    decryptor = secagg.Decryptor(params, key, "memory")
    result = decryptor.decrypt(total, 7)
    passed_on = [b""]
    if params.download_mode == "opener":
        passed_on = [decryptor.result(party) for party in parties()[:2]]
    return {
        "parameters": params.to_bytes().decode(),
        "fingerprint": params.fingerprint.hex(),
        "key": key.to_bytes().hex(),
        "key_id": key.id.hex(),
        "epoch": [each.hex() for each in epoch],
        "announcements": [each.hex() for each in announced],
        "uploads": [each.hex() for each in uploads],
        "partial": partial.hex(),
        "total": total.hex(),
        "results": [each.hex() for each in passed_on],
        "mean": {name: array.ravel().tolist() for name, array in result.mean.items()},
        "total_weight": result.total_weight,
        "transcript": result.transcript.hex(),
    }


def main() -> None:
    first = parties()[0]
    params = parameters(adversary="lying-server+1", scheme="packed")
    mask = MASKS.words(b"golden name", 100, 2**39)
    key = secagg.SecretKey(hashlib.sha256(b"golden key").digest(), params.fingerprint)
    vectors = {
        "source": "written by tests/secagg/make_golden.py of privfed 0.2.0 with TenSEAL 0.3.18",
        "version": 3,
        "identities": [party.public.to_bytes().hex() for party in parties()],
        "mask_sha256": hashlib.sha256(mask.astype("<u8").tobytes()).hexdigest(),
        "sealed_parameters": params.to_bytes().decode(),
        "sealed_key": secagg.seal_key(key, params, first, parties()[1].public, b"r" * 16).hex(),
        "cases": {name: recorded(changes) for name, changes in CASES.items()},
    }
    GOLDEN.write_text(json.dumps(vectors, indent=1) + "\n")


if __name__ == "__main__":
    main()
