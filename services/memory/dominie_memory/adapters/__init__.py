"""Memory's read model in SQLite: a file a tenant, and one that says which there are."""
