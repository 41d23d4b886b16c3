"""The group's arithmetic for many points at once, compiled where numba is installed."""
