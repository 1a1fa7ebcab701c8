"""Headers of the bus."""

TOKEN = "Dominie-Token"
"""The run token: whom the agent acts for, in which run."""
KEY = "Dominie-Key"
"""The idempotency key: 1 to 200 characters, the same for every try of one command."""
DEADLINE = "Dominie-Deadline"
"""Milliseconds that are left."""
AFTER = "Dominie-After"
"""A position; the reader's projections must be there before the command is handled."""
POSITION = "Dominie-Position"
"""The position of the last event that the reply wrote."""
PROBLEM = "Dominie-Problem"
"""Set on a reply whose body is a problem; its value is the problem's type."""
TRACEPARENT = "traceparent"
"""W3C Trace Context."""

MAX_COMMAND_BYTES = 256 * 1024
MAX_EVENT_BYTES = 512 * 1024
MAX_HEADER_BYTES = 16 * 1024
