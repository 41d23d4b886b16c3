"""State machines, bytes in and bytes out: the messages of every protocol, and what they reveal.

They read and write no file. Only `psi.protocols.vole.buckets` puts on the disk what does not fit
into memory, encrypted under keys that stay in memory.
"""
