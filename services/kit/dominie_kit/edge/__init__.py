"""What stands between the bus and a service: who may ask, and what is refused."""
