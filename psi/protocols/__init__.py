"""State machines, bytes in and bytes out: the messages of every protocol, and what they reveal."""
