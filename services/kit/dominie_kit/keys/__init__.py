"""The keys of a deployment and of its people: where they are, and how they are replaced."""
