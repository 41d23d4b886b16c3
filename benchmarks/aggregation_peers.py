"""What others do, rebuilt to run beside us on the same updates.

`NVFlare` follows the files of `nvflare/app_opt/he` (read at commit f3b7c1b, 2026) step by step,
without its transport: CKKS 8192 [60, 40, 40] at scale 2^40, symmetric, relinearisation keys; the
client multiplies by its weight and makes one `ckks_vector` a layer; each vector travels with its
context; the server adds, then multiplies by 1 / sum of weights.
"""

from typing import Any

import numpy as np
import tenseal as ts
from tenseal import sealapi

Update = dict[str, np.ndarray]
_SLOTS = 4096


class NVFlare:
    """NVFlare's homomorphic encryption."""

    name, exact = "nvflare", False

    def __init__(self, clip_range: float, bits: int, clients: int) -> None:
        made = ts.context(
            ts.SCHEME_TYPE.CKKS,
            poly_modulus_degree=8192,
            coeff_mod_bit_sizes=[60, 40, 40],
            encryption_type=ts.ENCRYPTION_TYPE.SYMMETRIC,
        )
        made.generate_relin_keys()
        made.global_scale = 2**40

        def kit(secret: bool) -> Any:
            return ts.context_from(
                made.serialize(
                    save_public_key=secret,
                    save_secret_key=secret,
                    save_galois_keys=False,
                    save_relin_keys=True,
                )
            )

        self._client, self._server = kit(True), kit(False)

    def encrypt(self, update: Update, weight: int) -> dict[str, tuple[bytes, bytes]]:
        """Return, by layer, the vector's bytes and its context's."""
        sent = {}
        for name, array in update.items():
            vector = ts.ckks_vector(self._client, array.ravel() * np.float64(weight))
            sent[name] = vector.serialize(), vector.context().serialize()
        return sent

    def aggregate(self, uploads: list[dict[str, tuple[bytes, bytes]]], weights: list[int]) -> Any:
        """Return, by layer, the encrypted mean's bytes and its context's."""
        totals: dict[str, Any] = {}
        for upload in uploads:
            for name, received in upload.items():
                vector = self._read(received)
                totals[name] = totals[name] + vector if name in totals else vector
        means = {name: total * (1.0 / sum(weights)) for name, total in totals.items()}
        return {
            name: (mean.serialize(), mean.context().serialize()) for name, mean in means.items()
        }

    def decrypt(self, total: Any) -> Update:
        """Return the mean by layer, flat."""
        key = self._client.secret_key()
        return {name: np.array(self._read(sent).decrypt(key)) for name, sent in total.items()}

    @staticmethod
    def _read(received: tuple[bytes, bytes]) -> Any:
        vector, context = received
        return ts.ckks_vector_from(ts.context_from(context), vector)

    @staticmethod
    def size_bytes(message: dict[str, tuple[bytes, bytes]]) -> tuple[int, int]:
        """Return (bytes of ciphertexts alone, with their contexts)."""
        vectors = sum(len(vector) for vector, _ in message.values())
        return vectors, vectors + sum(len(context) for _, context in message.values())


class TenSEALCKKS:
    """TenSEAL's CKKS as its examples have it, in one vector: 8192 [60, 60], symmetric."""

    name, exact = "tenseal-ckks", False
    _scheme = ts.SCHEME_TYPE.CKKS

    def __init__(self, clip_range: float, bits: int, clients: int) -> None:
        self._context = self._made()
        self._server = ts.context_from(
            self._context.serialize(
                save_public_key=False,
                save_secret_key=False,
                save_galois_keys=False,
                save_relin_keys=False,
            )
        )
        self._shapes: dict[str, int] = {}

    def _made(self) -> Any:
        made = ts.context(
            ts.SCHEME_TYPE.CKKS,
            poly_modulus_degree=8192,
            coeff_mod_bit_sizes=[60, 60],
            encryption_type=ts.ENCRYPTION_TYPE.SYMMETRIC,
        )
        made.global_scale = 2**40
        return made

    def encrypt(self, update: Update, weight: int) -> bytes:
        """Return one vector's bytes."""
        self._shapes = {name: array.size for name, array in update.items()}
        flat = np.concatenate([array.ravel() for array in update.values()])
        return bytes(ts.ckks_vector(self._context, flat.astype(np.float64) * weight).serialize())

    def aggregate(self, uploads: list[bytes], weights: list[int]) -> bytes:
        """Return the encrypted sum's bytes."""
        total = ts.ckks_vector_from(self._server, uploads[0])
        for upload in uploads[1:]:
            total += ts.ckks_vector_from(self._server, upload)
        self._weight = sum(weights)
        return bytes(total.serialize())

    def decrypt(self, total: bytes) -> Update:
        """Return the mean by layer, flat."""
        flat = np.array(ts.ckks_vector_from(self._context, total).decrypt()) / self._weight
        return self._layers(flat)

    def _layers(self, flat: np.ndarray) -> Update:
        stops = np.cumsum(list(self._shapes.values()))[:-1]
        return dict(zip(self._shapes, np.split(flat, stops), strict=True))

    @staticmethod
    def size_bytes(message: bytes) -> tuple[int, int]:
        """Return the size twice: nothing travels with it."""
        return len(message), len(message)


class TenSEALBFV(TenSEALCKKS):
    """TenSEAL's BFV vectors of quantised, weighted integers, two a slot: 4096 [36, 36, 37].

    Where two sums do not fit into a slot there is one. Every sum comes out exactly: SEAL's error
    is at most 21 a ciphertext, and rounding adds 1, so that the limit below has no chance in it.
    """

    name, exact = "bfv", True
    _CHAIN: tuple[int, ...] = (
        36,
        36,
        37,
    )  # the last prime is for keys that are switched: it holds no ciphertext

    def __init__(self, clip_range: float, bits: int, clients: int) -> None:
        self._limit, self._clip = 2 ** (bits - 1) - 1, clip_range
        self._largest = 1024
        self._radix = 2 * clients * self._limit + 1
        room = min(60, sum(self._CHAIN[:-1]) - 2 - (22 * clients).bit_length())
        self.values_a_slot = 2 if (self._radix**2).bit_length() < room else 1
        size = (self._radix**self.values_a_slot).bit_length() + 1
        while size in self._CHAIN:  # SEAL would take the very prime that is in the chain
            size += 1
        if size > room:
            raise ValueError(f"{self.name}: sums of {clients} updates of {bits} bits do not fit")
        self._modulus = sealapi.PlainModulus.Batching(_SLOTS, size).value()
        super().__init__(clip_range, bits, clients)

    def _made(self) -> Any:
        return ts.context(
            ts.SCHEME_TYPE.BFV,
            poly_modulus_degree=_SLOTS,
            plain_modulus=self._modulus,
            coeff_mod_bit_sizes=list(self._CHAIN),
            encryption_type=ts.ENCRYPTION_TYPE.SYMMETRIC,
        )

    def encrypt(self, update: Update, weight: int) -> bytes:
        """Return the vector's bytes."""
        self._shapes = {name: array.size for name, array in update.items()}
        flat = np.concatenate([array.ravel() for array in update.values()]).astype(np.float64)
        steps = np.rint(flat * (weight / self._largest * self._limit / self._clip))
        np.clip(steps, -self._limit, self._limit, out=steps)
        slots = np.zeros((-(-flat.size // self.values_a_slot), self.values_a_slot), np.int64)
        slots.ravel()[: flat.size] = steps
        packed = slots @ self._radix ** np.arange(self.values_a_slot)
        return bytes(ts.bfv_vector(self._context, packed).serialize())

    def aggregate(self, uploads: list[bytes], weights: list[int]) -> bytes:
        """Return the encrypted sum's bytes."""
        total = ts.bfv_vector_from(self._server, uploads[0])
        for upload in uploads[1:]:
            total += ts.bfv_vector_from(self._server, upload)
        self._weight = sum(weights)
        return bytes(total.serialize())

    def decrypt(self, total: bytes) -> Update:
        """Return the mean by layer, flat."""
        packed = np.array(ts.bfv_vector_from(self._context, total).decrypt(), np.int64)
        sums, half = np.empty((packed.size, self.values_a_slot)), self._radix // 2
        for lane in range(self.values_a_slot):
            low = (packed + half) % self._radix - half
            sums[:, lane] = low
            packed = (packed - low) // self._radix
        flat = sums.ravel()[: sum(self._shapes.values())]
        return self._layers(flat * (self._clip / self._limit * (self._largest / self._weight)))


class OnePrimeBFV(TenSEALBFV):
    """The same with one prime for ciphertexts: 4096 [54, 55], the least work that TenSEAL takes."""

    name = "bfv-one-prime"
    _CHAIN = (54, 55)


class Plaintext:
    """Float32 arrays, added by numpy in the clear."""

    name, exact = "plaintext", False

    def __init__(self, clip_range: float, bits: int, clients: int) -> None:
        self._shapes: dict[str, int] = {}

    def encrypt(self, update: Update, weight: int) -> bytes:
        """Return the weighted arrays' bytes."""
        self._shapes = {name: array.size for name, array in update.items()}
        return b"".join((array * np.float32(weight)).tobytes() for array in update.values())

    def aggregate(self, uploads: list[bytes], weights: list[int]) -> bytes:
        """Return the mean's bytes."""
        total = np.frombuffer(uploads[0], np.float32).copy()
        for upload in uploads[1:]:
            total += np.frombuffer(upload, np.float32)
        return (total / np.float32(sum(weights))).tobytes()

    def decrypt(self, total: bytes) -> Update:
        """Return the mean by layer, flat."""
        stops = np.cumsum(list(self._shapes.values()))[:-1]
        flat = np.frombuffer(total, np.float32)
        return dict(zip(self._shapes, np.split(flat, stops), strict=True))

    @staticmethod
    def size_bytes(message: bytes) -> tuple[int, int]:
        """Return the size twice: nothing travels with it."""
        return len(message), len(message)


PEERS = (NVFlare, TenSEALCKKS, TenSEALBFV, Plaintext)
TUNED = (OnePrimeBFV,)
"""What nobody ships: the best that we found to do with TenSEAL's vectors."""
