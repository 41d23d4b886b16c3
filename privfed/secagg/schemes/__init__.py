"""The schemes behind one interface; ``scheme_of`` picks the one that the parameters name."""

from privfed.errors import ConfigError
from privfed.secagg.parameters import Parameters
from privfed.secagg.schemes.base import Accumulator, Scheme, Zero
from privfed.secagg.schemes.packed import Packed
from privfed.secagg.schemes.reference import Reference


def scheme_of(params: Parameters) -> Scheme:
    """Return the implementation of ``params.scheme``."""
    if params.scheme == "packed":
        return Packed(params.packing, params.download)
    if params.scheme == "reference":
        return Reference(params.packing)
    raise ConfigError(f"scheme {params.scheme!r} is not built yet")


__all__ = ["Accumulator", "Packed", "Reference", "Scheme", "Zero", "scheme_of"]
