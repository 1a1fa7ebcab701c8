"""Imported by the fork server of `dominie up`, first, and by nothing else."""

import os

from dominie_kit.house import service_process as service_process
from dominie_kit.house.processes import call_itself, die_with_parent

die_with_parent()
call_itself("dom-fork-server")
if os.getsid(0) != os.getpid():
    os.setsid()  # a signal meant for the terminal's processes must reach the supervisor alone: it stops in order
