"""What can be asked between two: each question is a file here and a line below."""

from psi.sessions.questions.cardinality import CARDINALITY
from psi.sessions.questions.ids import IDS
from psi.sessions.questions.intersection import INTERSECTION
from psi.sessions.questions.question import Ask, Question
from psi.sessions.questions.sums import SUM
from psi.sessions.questions.unbalanced import UNBALANCED

__all__ = ["QUESTIONS", "Ask", "Question"]

QUESTIONS: dict[str, Question] = {
    one.name: one
    for one in (
        INTERSECTION,
        CARDINALITY,
        SUM,
        IDS,
        UNBALANCED,
    )
}
