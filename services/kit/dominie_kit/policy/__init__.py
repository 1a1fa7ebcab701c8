"""Cedar policies: the schema they are written for, what they say, and how they decide (ADR 0020)."""
