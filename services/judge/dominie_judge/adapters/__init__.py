"""The judges: rules that are sure of what they say, and models that are asked."""
