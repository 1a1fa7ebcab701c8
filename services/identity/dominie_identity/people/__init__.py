"""People and workloads whom an issuer elsewhere vouches for."""
