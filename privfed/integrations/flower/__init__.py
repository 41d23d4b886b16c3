"""Encrypted aggregation in Flower: a mod for the clients, a strategy for the server.

In a ClientApp `ClientApp(mods=[EncryptedMod()])`, in a ServerApp `EncryptedStrategy(FedAvg(…))`;
docs/flower.md has the rest.
"""

from privfed.integrations.flower.mod import EncryptedMod
from privfed.integrations.flower.strategy import EncryptedStrategy
from privfed.integrations.party import trained_model

__all__ = ["EncryptedMod", "EncryptedStrategy", "trained_model"]
