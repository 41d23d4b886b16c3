"""One thread, since the cores belong to the test runner; makes `training_digests` importable."""

import torch

torch.set_num_threads(1)
