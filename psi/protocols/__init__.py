"""State machines, bytes in and bytes out: the messages of every protocol, and what they reveal.

They read and write no file. `psi.protocols.kkrt.buckets` alone spills to the disk what does not fit
into memory, encrypted under a key that stays there.
"""
