"""How long a test waits for what has to come: what meets it hangs, however busy the machine."""

__all__ = ["LONG_SECONDS"]

LONG_SECONDS = 600
