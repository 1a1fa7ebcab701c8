"""The event store of Dominie: its port, its backends, projections."""
