"""Benchmarks of Dominie: each measures the real thing beside a floor, in one run."""
