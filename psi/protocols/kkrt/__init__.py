"""PSI by oblivious transfer extension (Kolesnikov, Kumaresan, Rosulek and Trieu 2016)."""

from psi.protocols.kkrt.parties import PROTOCOL, Receiver, Sender

__all__ = ["PROTOCOL", "Receiver", "Sender"]
