"""People's word that data are good: what they endorse, and where it counts."""
