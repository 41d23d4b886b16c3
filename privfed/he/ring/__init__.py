"""Ring-LWE with polynomials for plaintexts: one side encrypts, the other multiplies and answers.

`RingKey` encrypts and reads; `Plaintexts` are transformed once and multiplied with `Ciphertexts`
into `Products`; `PublicKey.answer` hides them. `bounds` says what a plan must prove. Compiled:
needs numba (`privfed[vertical]`), and neither SEAL nor torch.
"""

from privfed.he.ring import bounds, floods
from privfed.he.ring.answers import Answers
from privfed.he.ring.ciphertexts import Ciphertexts, Plaintexts, Products, centred
from privfed.he.ring.keys import PublicKey, RingKey
from privfed.he.ring.parameters import DEGREE, PLAIN_MODULUS, PRIMES, RING, Ring
from privfed.he.ring.sampling import MAX_FLOOD_BITS, uniform_plain

to_slots, from_slots = RING.to_slots, RING.from_slots

__all__ = [
    "DEGREE",
    "MAX_FLOOD_BITS",
    "PLAIN_MODULUS",
    "PRIMES",
    "Answers",
    "Ciphertexts",
    "Plaintexts",
    "Products",
    "PublicKey",
    "Ring",
    "RingKey",
    "bounds",
    "centred",
    "floods",
    "from_slots",
    "to_slots",
    "uniform_plain",
]
