"""Encrypted aggregation in NVFlare: two filters for clients, an aggregator for the server.

For a recipe around NVFlare's FedAvg controller. Who a party is, and which totals it has to open, is
asked over NVFlare's auxiliary messages, before a task: a task is the same for all clients, and one
that is a question would cost a round of training. The newest total and the uploads travel as
NVFlare's own models do, as arrays of bytes.
"""

from privfed.integrations.nvflare.aggregator import EncryptedAggregator
from privfed.integrations.nvflare.filters import DecryptModel, EncryptModel
from privfed.integrations.nvflare.persistor import CheckpointPersistor

__all__ = ["CheckpointPersistor", "DecryptModel", "EncryptModel", "EncryptedAggregator"]
