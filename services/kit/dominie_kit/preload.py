"""What every service needs, imported once by the fork server of `dominie up`, and by nothing else.

The fork server swallows an ImportError, so each service asserts that this module is there (service_process.py).
"""

import gc
import os

import cedarpy as cedarpy
import pydantic_settings as pydantic_settings
import uvloop as uvloop

from dominie_contracts import registry as registry
from dominie_kit import runner as runner
from dominie_kit.processes import call_itself, die_with_parent

die_with_parent()
call_itself("dom-fork-server")
if os.getsid(0) != os.getpid():
    os.setsid()  # a signal meant for the terminal's processes must reach the supervisor alone: it stops in order
gc.collect()
gc.freeze()  # a collection in a child would write to, and so copy, the pages that all share
