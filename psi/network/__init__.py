"""Between companies: certificates, connections over gRPC with mutual TLS, links."""
