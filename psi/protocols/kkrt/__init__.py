"""PSI by oblivious transfer extension (Kolesnikov, Kumaresan, Rosulek and Trieu 2016)."""

from psi.protocols.intersection import IntersectionProtocol
from psi.protocols.kkrt.parties import NAME, Receiver, Sender

__all__ = ["PROTOCOL", "Receiver", "Sender"]

PROTOCOL = IntersectionProtocol(
    name=NAME,
    help="faster, only for tables in one hand or sides that trust each other not to cheat",
    parties=(Receiver, Sender),
    limits=frozenset(),
    warning=(
        "kkrt is for sides that trust each other not to cheat. One that receives and knows 11 of "
        "the other's IDs can work out its whole key material and then test any number of guesses "
        "offline, past every limit; one that sends can tell which of the receiver's bins are "
        "occupied, so of most candidates on a list whether they are in its set, and can make it "
        "believe that everything matched. Choose ecdh otherwise"
    ),
)
