"""What is taken where nothing else is asked: in Python and at the command line alike.

A room of its own, since a command shows its defaults before anything heavy is imported.
"""

from typing import Final

SURROGATE = "surrogate"
DATASET = "dresses"
ENCODING: Final = "codes"  # the paper's, of the dresses
OWN_ENCODING: Final = "onehot"  # of a table of one's own

PARTIES = 2
ROUNDS = 500
SEEDS = 5
PRIVATE_ROUNDS = 20
STEPS_PER_PRIVATE_ROUND = 5  # where each step is a round, this many for each of the others
PRIVATE_LEARNING_RATE = 2e-2  # chosen on digits and breast cancer at seed 100
EXPECTED_BATCH_SIZE = 64  # of private steps
L2_CLIP_NORM = 1.0
EPSILONS = (1.0, 3.0, 8.0)
DELTA = 1e-5

QUICK_ROUNDS = 60  # of a quick benchmark, with
QUICK_SEEDS = 1
