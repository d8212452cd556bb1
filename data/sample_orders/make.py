"""Writes the invented orders anew, the same bytes every time.

python data/sample_orders/make.py [FOLDER]
"""

from __future__ import annotations

import csv
import gzip
import io
import random
import sys
from datetime import datetime, timedelta
from pathlib import Path

HEADER = [
    "InvoiceNo",
    "StockCode",
    "Description",
    "Quantity",
    "InvoiceDate",
    "UnitPrice",
    "CustomerID",
    "Country",
]
THINGS = ["TEA LIGHT HOLDER", "LUNCH BAG", "CAKE TIN", "WICKER HEART", "PAPER CHAIN KIT", "GARDEN SIGN"]
LOOKS = ["RED RETROSPOT", "IVORY LACE", "WOODLAND", "VINTAGE ROSE", "BLUE POLKADOT", "SET OF 3, SILVER"]
PRODUCTS = [(str(20_000 + 37 * n), f"{LOOKS[n % 6]} {THINGS[n // 6]}", 0.85 + n % 9) for n in range(36)]
CUSTOMERS = [str(12_000 + 41 * n) for n in range(40)]
CLOSED = [["CustomerID", "ClosedAt"], ["12041", "3/30/2024 11:20"], ["12328", "4/2/2024 16:05"]]
COUNTRIES = ["United Kingdom", "Germany", "France"]
POSTAGE = ("POST", "POSTAGE", 18.0)

# What goes wrong in real exports, each a row of its own.
DIRTY = {
    "orders-2024-01.csv": [],
    "orders-2024-02.csv": [
        ["536901", "20111", "VINTAGE ROSE TEA LIGHT HOLDER", "2", "2/11/2024 9:15"],
    ],
    "orders-2024-03.csv.gz": [
        [
            "536902",
            "20037",
            "IVORY LACE TEA LIGHT HOLDER",
            "six",
            "3/9/2024 10:02",
            "1.85",
            "12041",
            "France",
        ],
        ["536903", "20074", "WOODLAND TEA LIGHT HOLDER", "2", "3/32/2024 9:15", "2.85", "12123", "France"],
        ["536904", "20148", "BLUE POLKADOT TEA LIGHT HOLDER", "1", "3/3/2024 9:15", "n/a", "12164", "France"],
    ],
}


def written(at: datetime) -> str:
    """As the till writes times."""
    return f"{at.month}/{at.day}/{at.year} {at.hour}:{at.minute:02}"


def liked_by(number: int) -> list[tuple[str, str, float]]:
    """Two tastes: things of the first three looks, or of the others."""
    return [p for n, p in enumerate(PRODUCTS) if (n % 6 < 3) == (number % 2 == 0)]


def months() -> dict[str, list[list[str]]]:
    """The lines of each file, before the dirty ones."""
    draw = random.Random(4)
    files: dict[str, list[list[str]]] = {name: [] for name in (*DIRTY, "orders-2024-04.csv")}
    names, invoice, returns = list(files), 536_365, []
    for month, name in enumerate(names, start=1):
        orders = []
        for number, customer in enumerate(CUSTOMERS):
            if month == 4 and customer in ("12041", "12328"):
                continue
            at = datetime(2024, month, draw.randint(1, 27), draw.randint(8, 19), draw.randint(0, 59))
            lines = draw.sample(liked_by(number), 3) + draw.sample(PRODUCTS, 1)
            orders.append((at, customer if draw.random() < 0.93 else "", list(dict.fromkeys(lines))))
        for at, customer, lines in sorted(orders):
            invoice += 1
            country = COUNTRIES[int(customer or 0) % 3]
            for code, title, price in lines:
                row = [
                    str(invoice),
                    code,
                    title,
                    str(draw.choice([1, 1, 2, 6, 12])),
                    written(at),
                    f"{price:.2f}",
                ]
                files[name].append([*row, customer, country])
                if customer and draw.random() < 0.03:
                    row[0], row[3], row[4] = f"C{row[0]}", f"-{row[3]}", written(at + timedelta(days=1))
                    returns.append((name, [*row, customer, country]))
            if country != COUNTRIES[0] and customer:
                code, title, price = POSTAGE
                files[name].append(
                    [str(invoice), code, title, "1", written(at), f"{price:.2f}", customer, country]
                )
    for name, row in returns:
        files[name].append(row)
    # A till that was offline in March: its orders come with April's.
    late = [row for row in files["orders-2024-03.csv.gz"] if row[0] in ("536460", "536461")]
    files["orders-2024-03.csv.gz"] = [row for row in files["orders-2024-03.csv.gz"] if row not in late]
    files["orders-2024-04.csv"] += late
    return files


def views() -> list[list[str]]:
    """What the web shop's customers looked at in the four months, more of what they like."""
    draw, rows = random.Random(5), []
    closed = {customer for customer, _ in CLOSED}
    for number, customer in enumerate(CUSTOMERS):
        if customer in closed:
            continue
        for code, *_ in draw.sample(liked_by(number), 5) + draw.sample(PRODUCTS, 1):
            at = datetime(
                2024, draw.randint(1, 4), draw.randint(1, 27), draw.randint(8, 21), draw.randint(0, 59)
            )
            rows.append((at, [customer, code, written(at)]))
    return [["CustomerID", "StockCode", "ViewedAt"], *(row for _, row in sorted(rows))]


def text(rows: list[list[str]]) -> bytes:
    """The rows as CSV."""
    out = io.StringIO()
    csv.writer(out).writerows(rows)
    return out.getvalue().encode()


def main(folder: Path) -> None:
    """Writes every file below a folder."""
    for name, rows in months().items():
        for place, row in enumerate(DIRTY.get(name, [])):
            rows.insert(40 * (place + 1), row)
        target = folder / ("later" if name == "orders-2024-04.csv" else "first") / name
        target.parent.mkdir(parents=True, exist_ok=True)
        data = text([HEADER, *rows])
        target.write_bytes(gzip.compress(data, mtime=0) if target.suffix == ".gz" else data)
    (folder / "views").mkdir(parents=True, exist_ok=True)
    (folder / "views" / "views-2024.csv").write_bytes(text(views()))
    # Two customers closed their accounts.
    (folder / "later" / "closed-2024-04.csv").write_bytes(text(CLOSED))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
