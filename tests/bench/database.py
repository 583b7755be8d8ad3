# SPDX-License-Identifier: MIT
"""Pages of a database: SQLite's, whose rows and indexes lie in them as in any other."""

import json
import random
import sqlite3
from pathlib import Path

from file_pages import PAGE_BYTES
from records import customer, order

CUSTOMERS_PER_BATCH = 100
ORDERS_PER_BATCH = 900

SCHEMA = f"""
PRAGMA page_size = {PAGE_BYTES};
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT, email TEXT, city TEXT, token BLOB,
                        since INTEGER, balance REAL);
CREATE UNIQUE INDEX customers_by_email ON customers (email, id);
CREATE TABLE orders (id INTEGER PRIMARY KEY, customer INTEGER, reference TEXT, created INTEGER,
                     state TEXT, amount REAL, items TEXT, payment BLOB, note TEXT);
CREATE INDEX orders_by_customer ON orders (customer, created);
CREATE INDEX orders_by_reference ON orders (reference);
"""


def _add_batch(connection: sqlite3.Connection, batch: int, chance: random.Random) -> None:
    first = batch * CUSTOMERS_PER_BATCH
    for number in range(first, first + CUSTOMERS_PER_BATCH):
        row = customer(number, chance)
        connection.execute("INSERT INTO customers VALUES (?, ?, ?, ?, ?, ?, ?)",
                           tuple(row.values()))
    for number in range(batch * ORDERS_PER_BATCH, (batch + 1) * ORDERS_PER_BATCH):
        row = order(number, first + CUSTOMERS_PER_BATCH, chance)
        row["items"] = json.dumps(row["items"])
        connection.execute("INSERT INTO orders VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                           tuple(row.values()))
    connection.commit()


def database_pages(folder: Path, pages: int, chance: random.Random) -> list[bytes]:
    file = folder / "orders.db"
    connection = sqlite3.connect(file)
    try:
        connection.executescript(SCHEMA)
        batch = 0
        while file.stat().st_size < pages * PAGE_BYTES:
            _add_batch(connection, batch, chance)
            batch += 1
    finally:
        connection.close()
    content = file.read_bytes()
    file.unlink()
    return [content[start:start + PAGE_BYTES] for start in range(0, pages * PAGE_BYTES, PAGE_BYTES)]
