"""Learn together without showing: secure aggregation, differential privacy, benchmarks."""

__version__ = "0.1.0"
