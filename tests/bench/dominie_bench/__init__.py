"""Benchmarks of Dominie."""
