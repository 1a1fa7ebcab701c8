"""The processes of one machine: what runs them, watches them, and says how they are."""
