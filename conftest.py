"""For every test: a property holds or does not, however busy the machine is at the moment."""

from hypothesis import HealthCheck, settings

settings.register_profile("dominie", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("dominie")
