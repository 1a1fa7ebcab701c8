"""A run's steps over a real broker."""
