"""Two parties average a PyTorch model through a server that can read nothing.

Run: python examples/aggregate.py
"""

import torch

from privfed import secagg

model = torch.nn.Linear(12, 2)
update = model.state_dict()

# Agreed beforehand, all of it public: who takes part, the shapes, the range, the precision.
people = {name: secagg.generate_identity() for name in ("guest", "host")}
parameters = secagg.Parameters(
    job="dresses",
    layout=secagg.Layout.of(update),
    clip_range=1.0,
    bits=16,
    max_clients=2,
    min_clients=2,
    max_weight=512,
    scheme="packed",
    roster=tuple(identity.public for identity in people.values()),
)
key = secagg.generate_keys(parameters)  # the parties' own; the server never has it

# Each party: an update in, bytes out.
uploads = {}
for name, rows in (("guest", 325), ("host", 365)):
    encryptor = secagg.Encryptor(parameters, key, people[name])
    encryptor.prepare()  # the slow part, done while the model trains
    uploads[name] = encryptor.encrypt(update, weight=rows, round_id=1, previous=b"")
    print(f"{name} uploads {len(uploads[name])} bytes")

# The server: public parameters and bytes, no key.
server = secagg.Aggregator(parameters, round_id=1)
for upload in uploads.values():
    server.add(upload)
total = server.total()
print(f"the server returns {len(total)} bytes that it cannot read")

# Each party again.
opened = secagg.Decryptor(parameters, key, state=None).decrypt(total, round_id=1)
error = max(float(abs(opened.mean[name] - update[name].numpy()).max()) for name in update)
print(f"mean of {len(opened.senders)} parties, {opened.total_weight} rows, error {error:.1e}")
assert error < 1e-4
