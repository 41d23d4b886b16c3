"""The figures of the paper that the dress benchmark follows, as the paper prints them.

"Research on Open Innovation Intelligent Decision-Making of Cross-Border E-Commerce Based on
Federated Learning", Tables 2 to 5 (losses and accuracies over 500 rounds) and Figure 9 (test
accuracies). The paper's data file is private.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

CITATION = (
    "“Research on Open Innovation Intelligent Decision-Making of Cross-Border E-Commerce "
    "Based on Federated Learning”, Tables 2 to 5 and Figure 9"
)
ROUNDS = 500
GUEST_ROWS = 406
HOST_ROWS = 456
PUBLIC_ROWS = 500  # of UCI's Dresses_Attribute_Sales, whose columns the paper's file has


@dataclass(frozen=True)
class PaperArm:
    """One row of the paper's comparison; losses and accuracies in its own digits."""

    table: str
    train_loss_first: float
    train_loss_last: float
    train_accuracy_first: float
    train_accuracy_last: float
    test_loss: float
    test_accuracy: float


# The pooled run starts at 90 % training accuracy: it was not trained from scratch.
PAPER: Mapping[str, PaperArm] = {
    "guest": PaperArm("Guest alone", 0.7694, 0.1123, 0.5386, 0.9645, 1.7040, 0.5915),
    "host": PaperArm("Host alone", 0.8093, 0.0710, 0.4986, 0.9780, 1.3690, 0.6254),
    "federated": PaperArm("federated", 0.7427, 0.0748, 0.5327, 0.9798, 0.9476, 0.7880),
    "overall": PaperArm("overall (pooled)", 0.2538, 0.0442, 0.9020, 0.9826, 0.8188, 0.8092),
}
