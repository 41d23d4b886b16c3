"""What a server reads with the help of a party that has the key: it checks nothing."""

from collections.abc import Sequence
from pathlib import Path
from shutil import copyfile

import numpy as np

from privfed import secagg
from privfed.he import Integers, Packing, Words, planes, rlwe
from privfed.secagg import wire
from privfed.secagg.parts import Parts
from privfed.secagg.schemes import Packed


def messages(params: secagg.Parameters, key: secagg.SecretKey, upload: bytes) -> Words:
    """What is under the encryption of one upload of one part: words mod t, masked or not."""
    scheme, packing = Packed(params.packing, "seeds"), params.packing
    (part,) = Parts(params).all
    body = memoryview(upload)[wire.PREFIX_BYTES + wire.ENTRY_BYTES :]
    split = scheme.seed_bytes(part.sealed)
    words = planes.decode(body[split:], scheme.words(part.sealed), packing.upload_bits)
    keystream = scheme.opener(key).keystream([bytes(body[:split])], part.sealed)
    assert keystream is not None
    phase = rlwe.reduce(rlwe.uncut(words, packing.upload_cut) + keystream)
    return rlwe.scale_down(phase, packing.plain_bits)[0]


def opened(params: secagg.Parameters, key: secagg.SecretKey, uploads: Sequence[bytes]) -> Integers:
    """The integers that these uploads add up to, whatever their headers say."""
    words = sum((messages(params, key, each) for each in uploads), np.zeros(1, np.uint64))
    return integers(words, params.packing)[: params.values]


def integers(words: Words, packing: Packing) -> Integers:
    """The integers in words mod t, also where these are no sums but noise."""
    half, lanes = packing.radix // 2, []
    offset = sum(half * packing.radix**lane for lane in range(packing.lanes))
    rest = (words + np.uint64(offset % 2**64)) & np.uint64(2**packing.plain_bits - 1)
    for _ in range(packing.lanes):
        lanes.append((rest % np.uint64(packing.radix)).astype(np.int64) - half)
        rest = rest // np.uint64(packing.radix)
    return np.concatenate(lanes)


def sent(params: secagg.Parameters, update: dict[str, np.ndarray]) -> Integers:
    """The integers that a party sends for an update, where there are no weights."""
    flat = np.concatenate([array.reshape(-1) for array in update.values()])
    return np.rint(flat.astype(float) / params.step).astype(np.int64)


def twice(
    params: secagg.Parameters, key: secagg.SecretKey, identity: secagg.Identity, state: Path
) -> secagg.Encryptor:
    """Another encryptor of a hostile party, which has its first one's mask keys."""
    other = state.with_name(f"{state.name} again")
    copyfile(state, other)
    return secagg.Encryptor(params, key, identity, other)
