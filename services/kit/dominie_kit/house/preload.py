"""What every service needs, imported once by the fork server of `dominie up`, and by nothing else.

The fork server swallows an ImportError, so each service asserts that this module is there (service_process.py).
"""

import gc

import cedarpy as cedarpy
import pydantic_settings as pydantic_settings
import uvloop as uvloop

from dominie_contracts import registry as registry
from dominie_kit import runner as runner

gc.collect()
gc.freeze()  # a collection in a child would write to, and so copy, the pages that all share
