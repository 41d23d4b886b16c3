"""What a company asks: from a table to a party of a protocol, and back to matching rows.

`TableSession.prepare` takes a table and a choice: `PairChoice` between two parties, `GroupChoice`
among more. Its party goes to a connection of `psi.network`, and `outcome` says what was learnt.
"""

from psi.sessions.alignment import Alignment, align
from psi.sessions.group import GroupChoice
from psi.sessions.pair import PairChoice, answering_terms
from psi.sessions.questions.cardinality import CountChoice
from psi.sessions.questions.sums import SumChoice
from psi.sessions.questions.unbalanced import LargeSide
from psi.sessions.session import Choice, TableSession
from psi.sessions.tagstore import TagStore

__all__ = [
    "Alignment",
    "Choice",
    "CountChoice",
    "GroupChoice",
    "LargeSide",
    "PairChoice",
    "SumChoice",
    "TableSession",
    "TagStore",
    "align",
    "answering_terms",
]
