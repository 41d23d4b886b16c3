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
PRIVATE_MODEL: Final = "dress"
PRIVATE_LEARNING_RATE = {"dress": 2e-2, "linear": 5e-2}  # chosen on digits at seeds from 100 on
PARTIES_BESIDE = 10  # of the private arms beside the dresses, with
EXPECTED_BATCH_BESIDE = 29  # a fifth of each one's rows
EXPECTED_BATCH_SIZE = 64  # of private steps
L2_CLIP_NORM = 1.0
EPSILONS = (1.0, 3.0, 8.0)
DELTA = 1e-5

QUICK_ROUNDS = 60  # of a quick benchmark, with
QUICK_SEEDS = 1
