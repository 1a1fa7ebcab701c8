"""A witness of transparency logs (c2sp.org/tlog-witness): signs that each only grows, and remembers what it signed."""
