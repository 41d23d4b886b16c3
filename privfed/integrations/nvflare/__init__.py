"""Encrypted aggregation in NVFlare: filters for the clients, an aggregator for the server."""

__all__: list[str] = []
