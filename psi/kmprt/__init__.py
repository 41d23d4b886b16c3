"""The intersection of three and more sets, and of no fewer; psi.kmprt.parties says how."""

from psi.kmprt.parties import Leader, Member

__all__ = ["Leader", "Member"]
