"""The one room that talks to TenSEAL (its `sealapi`, a thin wrapper of Microsoft SEAL 4).

`files` moves SEAL's objects in and out of memory, `known` says what a seed must become, `zeros`
knows their byte layout and serves the packed scheme, `batches` treats them as opaque and serves
slots and CKKS. SEAL itself is loaded by the first call that needs it.
"""

from privfed.errors import LayoutError
from privfed.he.seal.batches import Batches, CKKSBatches, SlotBatches, Template
from privfed.he.seal.zeros import (
    KeyMultiplier,
    cached_key,
    drawn_key,
    encrypt_zeros,
    expand_sum,
    from_second_half,
    key_seed,
    key_test,
    products,
    second_half,
    self_test,
)


def is_known() -> bool:
    """Return whether this SEAL passes the self-test of `zeros` (loads SEAL).

    Raises:
        LayoutError: It draws other keys, so that no scheme can run that has one.
        ConfigError: It is not installed.
    """
    key_test()
    try:
        self_test()
    except LayoutError:
        return False
    return True


__all__ = [
    "Batches",
    "CKKSBatches",
    "KeyMultiplier",
    "SlotBatches",
    "Template",
    "cached_key",
    "drawn_key",
    "encrypt_zeros",
    "expand_sum",
    "from_second_half",
    "is_known",
    "key_seed",
    "products",
    "second_half",
]
