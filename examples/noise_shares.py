"""Ten companies train together at ε = 1: every one adds a tenth of the noise, under encryption.

Run: python examples/noise_shares.py
"""

import tempfile
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional

from privfed.dp import PrivacyBudget, SecretRandomness, calibrate
from privfed.training import RecordGradients, SharedNoise, one_thread, train_private

torch.manual_seed(0)  # of the split and the first weights; coins and noise are the system's
images, digits = (torch.from_numpy(array) for array in load_digits(return_X_y=True))
order = torch.randperm(len(images))
features, labels = images[order].float() / 16 - 0.5, digits[order]  # pixels are 0 to 16: centred
test, *parties = zip(features.chunk(11), labels.chunk(11), strict=True)

plan = calibrate(
    1.0,
    1e-5,
    noise="shares",
    rows=[len(labels) for _, labels in parties],
    sampling_rates=[0.2] * len(parties),
    rounds=100,
    l2_clip_norm=1.0,
    colluders=1,  # even if one of them takes its share out again
    dimension=64 * 10 + 10,
)
print(plan.statement())

model = nn.Linear(64, 10)
contributors = [
    RecordGradients(
        model,
        *rows,
        plan,
        place,
        SecretRandomness(),
        row_losses=lambda scores, labels: functional.cross_entropy(
            scores, labels, reduction="none"
        ),
    )
    for place, rows in enumerate(parties)
]
with tempfile.TemporaryDirectory() as folder:
    budget = PrivacyBudget(
        1.0, 1e-5, privacy_unit=plan.privacy_unit, path=Path(folder) / "budget.json"
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3, momentum=0.9)
    with one_thread():  # more cost time on a model this small
        train_private(model, contributors, SharedNoise(plan), budget, optimizer)
    print(budget.statement())
accuracy = float((model(test[0]).argmax(dim=1) == test[1]).float().mean())
print(f"test accuracy {accuracy:.1%}")
assert accuracy > 0.7
