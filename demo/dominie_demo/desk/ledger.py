"""The shop's ledger: orders, refunds and sent mail, in one SQLite file."""

import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

ORDERS = [
    ("A-1001", "Dana", "dana@customers.example", 4900),
    ("A-1002", "Eli", "eli@customers.example", 9900),
    ("A-1003", "Fay", "fay@customers.example", 1500),
    ("A-1004", "Gus", "gus@customers.example", 2500),
    ("A-1005", "Hana", "hana@customers.example", 20000),
]


def _open() -> sqlite3.Connection:
    connection = sqlite3.connect(os.environ["DESK_LEDGER"], timeout=10)
    connection.row_factory = sqlite3.Row
    return connection


def create(path: Path) -> None:
    """Make an empty ledger with the shop's orders."""
    with closing(sqlite3.connect(path)) as ledger, ledger:
        ledger.execute("CREATE TABLE orders (id TEXT PRIMARY KEY, customer TEXT, email TEXT, paid_cents INTEGER)")
        ledger.execute("CREATE TABLE refunds (id INTEGER PRIMARY KEY, order_id TEXT, cents INTEGER, key TEXT UNIQUE)")
        ledger.execute(
            "CREATE TABLE mails (id INTEGER PRIMARY KEY, recipient TEXT, subject TEXT, body TEXT, key TEXT UNIQUE)"
        )
        ledger.executemany("INSERT INTO orders VALUES (?, ?, ?, ?)", ORDERS)


def lookup_order(order: str) -> dict[str, Any]:
    """Look up an order: who bought it, their e-mail address, and what they paid."""
    with closing(_open()) as ledger:
        row = ledger.execute("SELECT * FROM orders WHERE id = ?", (order,)).fetchone()
    if row is None:
        raise ValueError(f"there is no order {order}")
    return {"order": row["id"], "customer": row["customer"], "email": row["email"], "paid_cents": row["paid_cents"]}


def list_customers() -> list[dict[str, str]]:
    """List every customer with their e-mail address."""
    with closing(_open()) as ledger:
        rows = ledger.execute("SELECT customer, email FROM orders ORDER BY id").fetchall()
    return [{"customer": row["customer"], "email": row["email"]} for row in rows]


def refund(order: str, amount_cents: int, key: str | None = None) -> str:
    """Pay back an amount, in cents, for an order. The same key pays once."""
    with closing(_open()) as ledger, ledger:
        ledger.execute(
            "INSERT OR IGNORE INTO refunds (order_id, cents, key) VALUES (?, ?, ?)", (order, amount_cents, key)
        )
    time.sleep(float(os.environ.get("DESK_BANK_S", "0")))  # the bank takes its time to answer
    return f"refunded ${amount_cents / 100:.2f} for {order}"


def send_mail(to: str, subject: str, body: str, key: str | None = None) -> str:
    """Send an e-mail. The same key sends once."""
    with closing(_open()) as ledger, ledger:
        row = (to, subject, body, key)
        ledger.execute("INSERT OR IGNORE INTO mails (recipient, subject, body, key) VALUES (?, ?, ?, ?)", row)
    return f"sent to {to}"
