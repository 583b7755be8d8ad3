# SPDX-License-Identifier: MIT
"""Made-up customers and orders, for the heap of a Python program and for a database."""

import random
from typing import Any

FIRST_NAMES = ("Anna", "Ben", "Clara", "David", "Emma", "Felix", "Greta", "Hugo", "Ida", "Jonas",
               "Klara", "Leon", "Mia", "Noah", "Olivia", "Paul", "Rosa", "Samuel", "Tilda", "Vera")
LAST_NAMES = ("Almeida", "Becker", "Castro", "Dubois", "Eriksen", "Fischer", "Garcia", "Hansen",
              "Ivanova", "Jansen", "Kowalski", "Lindgren", "Moreau", "Novak", "Okafor", "Petrov",
              "Rossi", "Schneider", "Tanaka", "Weber")
CITIES = ("Berlin", "Bergen", "Bologna", "Bordeaux", "Gdansk", "Geneva", "Ghent", "Lisbon",
          "Malmo", "Porto", "Prague", "Tallinn", "Utrecht", "Vienna", "Zurich")
STATES = ("open", "paid", "packed", "shipped", "delivered", "returned")
WORDS = ("please leave the parcel with a neighbour at the side door call before delivery fragile "
         "this end up second floor ring twice invoice to the office not before noon").split()


def customer(number: int, chance: random.Random) -> dict[str, Any]:
    first, last = chance.choice(FIRST_NAMES), chance.choice(LAST_NAMES)
    return {
        "id": number,
        "name": f"{first} {last}",
        "email": f"{first}.{last}{chance.randrange(10000)}@mail.example".lower(),
        "city": chance.choice(CITIES),
        "token": chance.randbytes(16),
        "since": 1_400_000_000 + chance.randrange(300_000_000),
        "balance": chance.randrange(1_000_000) / 100,
    }


def order(number: int, customers: int, chance: random.Random) -> dict[str, Any]:
    return {
        "id": number,
        "customer": chance.randrange(customers),
        "reference": f"{chance.getrandbits(64):016X}",
        "created": 1_700_000_000 + 37 * number + chance.randrange(37),
        "state": chance.choice(STATES),
        "amount": chance.randrange(100, 500_000) / 100,
        "items": [chance.randrange(100_000) for _ in range(chance.randrange(1, 6))],
        "payment": chance.randbytes(32),
        "note": " ".join(chance.choices(WORDS, k=chance.randrange(12))),
    }
