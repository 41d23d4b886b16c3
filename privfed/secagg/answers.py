"""What a server that lies can learn from whether totals decrypt, in bits, and what is left.

A total that only the secret key shows to be wrong is an answer of the key's: it decrypts, or it
does not. Where linear hashes cover both halves of a ciphertext there is none, but with chance
2^-113 an attempt. Where c0 can be moved, answers that come as the server expected tell it nothing;
all that it has is when they did not. A computation that guesses this right needs no answers, so
that B bits of it take at most B bits off the security (a bound for any scheme, far from tight
here: the cut of c0 keeps each answer coarser than the noise that it is about).

Three totals that did not decrypt retire a key. Each party signs, with its uploads, marks of those
that it knows of. So if all open a round before they send the next, a round over all parties
begins with all that failed before; in the last of them every holder may meet another wrong total
at once. A party that is kept out of all others' rounds is not heard, and stops after three of its
own.
"""

from math import comb, log2

from privfed.errors import ConfigError
from privfed.secagg.parameters import Parameters
from privfed.secagg.rounds import is_whole
from privfed.secagg.wire import MARKS

LATTICE_BITS = 261  # n = 4096, q of 58 bits, ternary secret: an estimate of classical attacks


def told_bits(queries: int, failures: int) -> float:
    """Return log2 of how many ways there are in which up to `failures` of `queries` fail."""
    return log2(sum(comb(queries, number) for number in range(min(failures, queries) + 1)))


def answer_bits(holders: int, rounds: int, *, everybody: bool = True) -> float:
    """Return at most how many bits all answers of one key's holders tell.

    Args:
        holders: Parties that open a total each round.
        rounds: Rounds under the key.
        everybody: Whether all of them send in every round; else only each one's own failures
            are sure to stop it.
    """
    alone = holders * told_bits(rounds, MARKS)
    if not everybody:
        return alone
    # Fewer than three failures until some round, and any of the holders' in that round.
    return min(alone, told_bits(holders * rounds, MARKS - 1) + log2(rounds) + holders)


def remaining_bits(params: Parameters, rounds: int, *, everybody: bool = True) -> float:
    """Return at least how many bits of security are left against a server that lies.

    Args:
        params: What all parties agreed on; all of its roster open totals.
        rounds: Rounds under one key.
        everybody: Whether all parties of the roster send in every round.

    Raises:
        ConfigError: The rounds are no number of rounds.
    """
    if not is_whole(rounds) or rounds < 1:
        raise ConfigError("rounds is a whole number from 1")
    if params.scheme in ("ckks", "reference"):
        return 0.0
    told = 0.0
    if not params.covers_c0:
        told = answer_bits(len(params.roster), int(rounds), everybody=everybody)
    return max(0.0, LATTICE_BITS - told)
