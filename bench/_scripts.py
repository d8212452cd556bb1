"""Baselines: what one writes by hand for one data set, with DuckDB and COPY; nothing is checked or kept."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import duckdb
from _embedded import copy_files
from _process import THREADS

from kgdistill.datasets.adapt_journey import package_folder

_PATH = "concat_ws(' > ', department, product_category, product_type)"
_SHORT = "concat_ws(' > ', department, product_category)"
_JOURNEY = {
    "User": """
        SELECT household_id::VARCHAR AS user_id, age, income, home_ownership, marital_status, household_size,
            household_comp AS household_composition, kids_count
        FROM (SELECT household_id FROM transactions UNION SELECT household_id FROM campaigns
              UNION SELECT household_id FROM coupon_redemptions UNION SELECT household_id FROM demographics)
        LEFT JOIN demographics USING (household_id)""",
    "Product": f"""
        SELECT product_id::VARCHAR AS product_id,
            coalesce(product_type, product_category, department) AS title,
            brand || ' manufacturer ' || manufacturer_id AS brand_text, {_PATH} AS category_text,
            package_size AS attributes
        FROM (SELECT product_id FROM products UNION SELECT product_id FROM transactions
              UNION SELECT product_id FROM coupons)
        LEFT JOIN products USING (product_id)""",
    "Brand": """
        SELECT manufacturer_id::VARCHAR AS brand_id,
            any_value(if(brand = 'Private', 'private ', '') || 'manufacturer ' || manufacturer_id) AS name
        FROM products WHERE manufacturer_id IS NOT NULL GROUP BY ALL""",
    "Department": """
        SELECT DISTINCT department AS department_id, department AS name FROM products
        WHERE department IS NOT NULL""",
    "Category": f"""
        SELECT DISTINCT {_PATH} AS category_id, coalesce(product_type, product_category) AS name,
            {_PATH} AS path, 1 + (product_type IS NOT NULL)::BIGINT AS level
        FROM products WHERE product_category IS NOT NULL
        UNION SELECT {_SHORT}, product_category, {_SHORT}, 1 FROM products
        WHERE product_category IS NOT NULL""",
    "Campaign": """
        SELECT campaign_id::VARCHAR AS campaign_id, campaign_type, start_date::TIMESTAMP AS start_at,
            end_date::TIMESTAMP AS end_at
        FROM campaign_descriptions""",
    "Coupon": """
        SELECT coupon_upc::VARCHAR AS coupon_id, min(start_date)::TIMESTAMP AS start_at
        FROM coupons JOIN campaign_descriptions USING (campaign_id) GROUP BY ALL""",
    "Product-MADE_BY-Brand": """
        SELECT product_id::VARCHAR AS source, manufacturer_id::VARCHAR AS target FROM products
        WHERE manufacturer_id IS NOT NULL""",
    "Category-PART_OF-Category": f"""
        SELECT DISTINCT {_PATH} AS source, {_SHORT} AS target FROM products
        WHERE product_category IS NOT NULL AND product_type IS NOT NULL""",
    "Category-PART_OF-Department": f"""
        SELECT DISTINCT {_SHORT} AS source, department AS target FROM products
        WHERE product_category IS NOT NULL""",
    "Product-PART_OF-Department": """
        SELECT product_id::VARCHAR AS source, department AS target FROM products
        WHERE product_category IS NULL AND department IS NOT NULL""",
    "Product-IN_CATEGORY-Category": f"""
        SELECT product_id::VARCHAR AS source, {_PATH} AS target FROM products
        WHERE product_category IS NOT NULL""",
    "Coupon-PART_OF-Campaign": """
        SELECT DISTINCT coupon_upc::VARCHAR AS source, campaign_id::VARCHAR AS target FROM coupons""",
    "Coupon-FOR-Product": """
        SELECT DISTINCT coupon_upc::VARCHAR AS source, product_id::VARCHAR AS target FROM coupons""",
    "User-RECEIVED-Campaign": """
        SELECT household_id::VARCHAR AS source, campaign_id::VARCHAR AS target, start_date::TIMESTAMP AS at
        FROM campaigns JOIN campaign_descriptions USING (campaign_id)""",
    "User-REDEEMED-Coupon": """
        SELECT DISTINCT household_id::VARCHAR AS source, coupon_upc::VARCHAR AS target,
            redemption_date::TIMESTAMP AS at
        FROM coupon_redemptions""",
    "User-BOUGHT-Product": """
        SELECT household_id::VARCHAR AS source, product_id::VARCHAR AS target,
            min(transaction_timestamp)::TIMESTAMP AS first_at,
            max(transaction_timestamp)::TIMESTAMP AS last_at,
            arg_min(quantity, transaction_timestamp) AS first_quantity, count(*) AS "count",
            sum(sales_value) AS spend
        FROM transactions GROUP BY ALL""",
}
_WEEK = "TIMESTAMP '2017-01-01' + to_days(7 * week::INTEGER)"
_PROMOTIONS = {
    "Product": "SELECT DISTINCT product_id::VARCHAR AS product_id FROM promotions",
    "Shop": "SELECT DISTINCT store_id::VARCHAR AS shop_id FROM promotions",
    "Product-PROMOTED-Shop": f"""
        SELECT product_id::VARCHAR AS source, store_id::VARCHAR AS target, min({_WEEK}) AS first_at,
            max({_WEEK}) AS last_at, count(*) AS "count"
        FROM promotions GROUP BY ALL""",
}


def journey(folder: str) -> dict[str, Any]:
    """Complete Journey from its files into the embedded engine."""
    return _run(_JOURNEY, Path(folder))


def promotions(folder: str) -> dict[str, Any]:
    """The promotions likewise."""
    return _run(_PROMOTIONS, Path(folder))


def _run(selects: dict[str, str], folder: Path) -> dict[str, Any]:
    begin = time.monotonic()
    folder.mkdir()
    files = []
    with duckdb.connect() as db:
        db.execute(f"SET threads = {THREADS}")
        db.execute("SET memory_limit = '640MB'")
        for file in package_folder().glob("*.parquet"):
            db.execute(f"CREATE VIEW {file.stem} AS SELECT * FROM '{file}'")
        for name, select in selects.items():
            files.append(folder / f"{name}.parquet")
            order = " ORDER BY source" if "-" in name else ""
            db.execute(f"COPY ({select}{order}) TO '{files[-1]}' (FORMAT parquet, COMPRESSION lz4)")
    rows = copy_files(files, folder / "raw.lbug")
    return {"seconds": time.monotonic() - begin, "graph_rows": rows}
