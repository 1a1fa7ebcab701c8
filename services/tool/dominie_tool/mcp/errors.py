"""What goes wrong with a server; the texts say what, for people.

Broken   it does not do what the protocol says, so it is ended
Failed   it does, and a tool of it says that it failed
"""

OURS = -32_097
"""The code of an error (JSON-RPC) that is said here, to the library, in a server's place."""


class Broken(Exception):
    """A server does not do what the protocol says, or takes too long."""


class Failed(Exception):
    """A tool says that it failed, or wants what it is not given."""
