"""The one room that talks to TenSEAL (its ``sealapi``, a thin face of Microsoft SEAL 4).

``files`` moves SEAL's objects in and out of memory, ``zeros`` knows their byte layout and serves
the packed scheme, ``batches`` treats them as opaque and serves slots and CKKS.
"""

from privfed.errors import LayoutError


def is_known() -> bool:
    """Return whether this SEAL passes the self-test of ``zeros`` (loads SEAL)."""
    from privfed.he.seal import zeros

    try:
        zeros.self_test()
    except LayoutError:
        return False
    return True


__all__ = ["is_known"]
