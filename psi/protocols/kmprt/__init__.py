"""The intersection of three and more sets, and of no fewer (see `parties`)."""

from psi.protocols.kmprt.parties import Leader, Member

__all__ = ["Leader", "Member"]
