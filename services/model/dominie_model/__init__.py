"""Model calls, their routing and their cost."""
