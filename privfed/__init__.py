"""Learn together without showing data: secure aggregation, differential privacy, benchmarks."""

__version__ = "0.1.0"
