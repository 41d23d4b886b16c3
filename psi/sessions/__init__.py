"""What a company asks: tables in, parties of a protocol, matching rows out."""
