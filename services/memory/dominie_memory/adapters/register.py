"""Which tenants have a file, and how far each file must have come."""

import sqlite3

from dominie_contracts import Recorded
from dominie_eventstore import SqlProjection


class Register(SqlProjection):
    """A projection of the category `memory`: each tenant's last event."""

    SCHEMA_VERSION = 1
    SCHEMA = "CREATE TABLE tenants (tenant TEXT PRIMARY KEY, position INTEGER NOT NULL) WITHOUT ROWID;"

    def project(self, db: sqlite3.Connection, event: Recorded) -> None:
        """Note where the tenant's file stands."""
        db.execute("INSERT OR REPLACE INTO tenants VALUES (?, ?)", (event.envelope.tenant, event.position))

    def tenants(self) -> dict[str, int]:
        """Each tenant's last event, by its position."""
        return dict(self.db.execute("SELECT tenant, position FROM tenants"))
