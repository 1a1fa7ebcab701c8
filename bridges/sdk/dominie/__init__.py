"""The agent's side of Dominie, and its command line."""
