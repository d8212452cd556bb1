"""A small made-up shop in the layouts in which shop software exports: headings, and which cells are empty."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

THINGS = ("Lamp", "Kettle", "Notebook", "Scarf")
_FIRST = datetime(2026, 3, 1)
BRANDS = ("Acme", "Hill & Co", "Näh")


@dataclass(frozen=True)
class Line:
    """One product of an order."""

    order: int
    customer: int
    product: int
    quantity: int
    at: datetime

    @property
    def price(self) -> float:
        return 5.0 + self.product


LINES = [
    Line(
        order,
        (order * 7) % 13,
        (order * 5 + place * 3) % 24,
        1 + place,
        datetime(2026, 3, 1) + timedelta(hours=order),
    )
    for order in range(60)
    for place in range(1 + order % 3)
]
LINES_OF = {order: [line for line in LINES if line.order == order] for order in range(60)}
UNDONE = {order for order in range(60) if order % 10 == 4}
"""Orders that were refunded or cancelled."""


def title(product: int) -> str:
    return f"{THINGS[product % 4]} No {product}"


def brand(product: int) -> str:
    return BRANDS[product % 3]


def path(product: int) -> str:
    return f"{('Home', 'Office')[product % 2]} > {THINGS[product % 4]}s"


def mail(customer: int) -> str:
    return f"{'Ann' if customer % 2 else 'ben'}{customer}@example.org"


def sku(product: int) -> str:
    return f"SKU-{product:03}"


def slug(product: int) -> str:
    return title(product).lower().replace(" ", "-")


def table(file: Path, headings: str, rows: Sequence[Mapping[str, Any]], encoding: str = "utf-8") -> None:
    """A CSV with all of the headings, of which the rows fill some."""
    with file.open("w", encoding=encoding, newline="") as out:
        names = [name.strip() for line in headings.splitlines() for name in line.split("|") if name.strip()]
        writer = csv.DictWriter(out, names, restval="")
        writer.writeheader()
        writer.writerows(rows)


def shopify(folder: Path) -> None:
    """Variants and lines of orders stand below the first row of their product or order, which is whole."""
    products: list[dict[str, Any]] = []
    for n in range(24):
        whole = {
            "Title": title(n), "Body (HTML)": f"<p>The <b>{title(n)}</b>&nbsp;is made to last.</p>",
            "Vendor": brand(n), "Product Category": path(n), "Tags": "new, gift",
            "Published": "true", "Status": "active", "Option1 Name": "Color",
        }  # fmt: skip
        variant = {"Handle": slug(n), "Option1 Value": "Red", "Variant SKU": sku(n), "Variant Price": 5 + n}
        products += [whole | variant, variant | {"Option1 Value": "Blue", "Variant SKU": f"{sku(n)}-B"}]
        products.append(
            {"Handle": slug(n), "Image Src": f"https://shop.example/{n}.jpg", "Image Position": 2}
        )
    head = """
        Handle|Title|Body (HTML)|Vendor|Product Category|Type|Tags|Published|Option1 Name|Option1 Value
        Option2 Name|Option2 Value|Variant SKU|Variant Grams|Variant Inventory Qty|Variant Price
        Variant Compare At Price|Image Src|Image Position|Image Alt Text|Gift Card|SEO Title
        Cost per item|Status
    """
    table(folder / "products_export.csv", head, products)
    orders = []
    for number, lines in LINES_OF.items():
        state = "refunded" if number in UNDONE else "paid"
        for place, line in enumerate(lines):
            whole = {
                "Financial Status": state, "Paid at": f"{line.at} +0000", "Currency": "EUR",
                "Total": _sum(lines) + 4.95, "Shipping": 4.95,
                "Created at": f"{line.at} +0000", "Billing Name": "Ann B.", "Id": 55000 + number,
            }  # fmt: skip
            own = {
                "Name": f"#{1000 + number}", "Email": mail(line.customer), "Lineitem quantity": line.quantity,
                "Lineitem name": f"{title(line.product)} - Red", "Lineitem price": line.price,
                "Lineitem sku": sku(line.product), "Lineitem fulfillment status": "pending",
                "Vendor": brand(line.product),
            }  # fmt: skip
            orders.append(own if place else whole | own)
    head = """
        Name|Email|Financial Status|Paid at|Fulfillment Status|Accepts Marketing|Currency|Subtotal
        Shipping|Taxes|Total|Discount Code|Discount Amount|Shipping Method|Created at|Lineitem quantity
        Lineitem name|Lineitem price|Lineitem compare at price|Lineitem sku|Lineitem requires shipping
        Lineitem taxable|Lineitem fulfillment status|Billing Name|Billing Street|Billing City
        Billing Zip|Billing Country|Billing Phone|Shipping Name|Shipping City|Notes|Cancelled at
        Payment Method|Refunded Amount|Vendor|Id|Tags|Risk Level|Source|Lineitem discount
    """
    table(folder / "orders_export_1.csv", head, orders)
    people = [
        {"Customer ID": f"'72104483{n:05}", "Email": mail(n), "First Name": "Ann", "Total Orders": 3}
        for n in range(13)
    ]
    head = """
        Customer ID|First Name|Last Name|Email|Accepts Email Marketing|Phone|Total Spent|Total Orders
        Tax Exempt|Tags
    """
    table(folder / "customers_export.csv", head, people)
    reviews = [
        {
            "title": "Well", "body": f"I like it, number {n}.", "rating": 1 + n % 5,
            "review_date": "2026-04-01 12:00:00 UTC",
            "reviewer_name": "A.", "reviewer_email": mail(n % 13), "product_id": 7000 + n % 24,
            "product_handle": slug(n % 24), "reply": "Thank you!" if n % 4 == 0 else "",
        }
        for n in range(40)
    ]  # fmt: skip
    head = """
        title|body|rating|review_date|source|reviewer_name|reviewer_email|product_id|product_handle
        reply|reply_date
    """
    table(folder / "reviews.csv", head, reviews)


def woocommerce(folder: Path) -> None:
    """Categories are lists of paths, and the order's sum and coupon stand on each of its lines."""
    products = [
        {
            "ID": 100 + n, "Type": "simple", "SKU": sku(n), "Name": title(n), "Published": 1,
            "Description": f"<p>The {title(n)}.</p>", "Regular price": 5 + n, "Brands": brand(n),
            "Categories": f"{path(n)}, {path(n).split()[0]}", "Tags": "new, gift",
        }
        for n in range(24)
    ]  # fmt: skip
    head = """
        ID|Type|SKU|GTIN, UPC, EAN, or ISBN|Name|Published|Is featured?|Visibility in catalog
        Short description|Description|Tax status|In stock?|Stock|Weight (kg)|Sale price|Regular price
        Categories|Tags|Images|Parent|Position|Brands
    """
    table(folder / "wc-product-export.csv", head, products, "utf-8-sig")
    orders = [
        {
            "Order Number": 1000 + line.order,
            "Order Status": "Refunded" if line.order in UNDONE else "Completed",
            "Order Date": f"{line.at:%Y-%m-%d %H:%M}", "Email (Billing)": mail(line.customer),
            "First Name (Billing)": "Ann", "Payment Method Title": ("Card", "Invoice")[line.order % 2],
            "Order Total Amount": _sum(LINES_OF[line.order]),
            "SKU": sku(line.product),
            "Item Name": title(line.product), "Quantity (- Refund)": line.quantity, "Item Cost": line.price,
            "Coupon Code": "spring" if line.order % 6 == 0 else "",
        }
        for line in LINES
    ]  # fmt: skip
    head = """
        Order Number|Order Status|Order Date|First Name (Billing)|Last Name (Billing)|City (Billing)
        Email (Billing)|Phone (Billing)|Payment Method Title|Order Subtotal Amount|Order Shipping Amount
        Order Refund Amount|Order Total Amount|SKU|Item #|Item Name|Quantity (- Refund)|Item Cost
        Coupon Code|Discount Amount
    """
    table(folder / "orders.csv", head, orders, "utf-8-sig")


def ga4(folder: Path) -> None:
    """A day a file, as Google Analytics exports it; of events without products the list is empty."""
    for half in range(2):
        rows: list[dict[str, Any]] = []
        for number, lines in LINES_OF.items():
            if number % 2 != half:
                continue
            seen, bought = _event("view_item", lines[:1]), _event("purchase", lines)
            bought["ecommerce"] = {"transaction_id": f"T{number}", "purchase_revenue": _sum(lines)}
            rows += [_event("page_view", lines[:1]) | {"items": []}, seen, bought]
        json_lines(folder / f"events_2026030{1 + half}.json", rows)


def _event(name: str, lines: Sequence[Line]) -> dict[str, Any]:
    first = lines[0]
    return {
        "event_date": f"{first.at:%Y%m%d}", "event_timestamp": f"{_micros(first.at)}", "event_name": name,
        "event_params": [
            {"key": "page_title", "value": {"string_value": "Shop"}},
            {"key": "ga_session_id", "value": {"int_value": f"{first.order}"}},
        ],
        "user_pseudo_id": f"{1000 + first.customer}.77", "user_id": None, "device": {"category": "mobile"},
        "traffic_source": {"name": "(direct)", "medium": "(none)"},
        "items": [
            {
                "item_id": sku(line.product), "item_name": title(line.product),
                "item_brand": brand(line.product), "item_category": path(line.product).split(" > ")[1],
                "price": line.price, "quantity": line.quantity,
            }
            for line in lines
        ],
    }  # fmt: skip


def segment(folder: Path) -> None:
    """Calls of track: an order holds its products, a view is of one."""
    rows = []
    for number, lines in LINES_OF.items():
        first = lines[0]
        own = {"product_id": sku(first.product), "name": title(first.product), "brand": brand(first.product)}
        own["price"] = f"{first.price}"
        products = [
            {
                "product_id": sku(line.product), "name": title(line.product), "brand": brand(line.product),
                "price": line.price, "quantity": line.quantity,
            }
            for line in lines
        ]  # fmt: skip
        order = {"order_id": f"o{number}", "total": _sum(lines), "products": products}
        for name, told in (("Product Viewed", own), ("Order Completed", order)):
            rows.append(
                {
                    "type": "track", "event": name, "userId": f"u{first.customer}",
                    "messageId": f"m{number}{name[0]}", "context": {"page": {"title": "Shop"}},
                    "timestamp": f"{first.at.isoformat()}Z", "receivedAt": f"{first.at.isoformat()}.100Z",
                    "properties": told,
                }
            )  # fmt: skip
    json_lines(folder / "2026-03.json", rows)


def _sum(lines: Sequence[Line]) -> float:
    return sum(line.price * line.quantity for line in lines)


def _micros(at: datetime) -> int:
    return int((at - datetime(1970, 1, 1)) / timedelta(microseconds=1))


def taobao(folder: Path) -> None:
    """Lists of orders and of their lines, of months that overlap, in GB18030; long numbers are text."""
    for half in range(2):
        mine = [number for number in LINES_OF if number % 3 != half]
        orders = [
            {
                "订单编号": f'="{_taobao(number)}"', "买家会员名": f"落叶{LINES_OF[number][0].customer}",
                "买家支付宝账号": "138****1234", "总金额": f"{_sum(LINES_OF[number]):.2f}",
                "订单状态": _state(number),
                "收货人姓名": "刘娜", "联系手机": "'13800138000", "订单创建时间": f"{LINES_OF[number][0].at}",
                "宝贝标题": " ，".join(title(line.product) for line in LINES_OF[number]), "宝贝种类": "1",
                "宝贝总数量": sum(line.quantity for line in LINES_OF[number]), "店铺名称": "好物旗舰店",
            }
            for number in mine
        ]  # fmt: skip
        head = """
            订单编号|买家会员名|买家支付宝账号|支付单号|买家应付货款|买家应付邮费|总金额|订单状态|买家留言|收货人姓名|收货地址
            运送方式|联系手机|订单创建时间|订单付款时间|宝贝标题|宝贝种类|物流单号|物流公司|订单备注|宝贝总数量|店铺Id|店铺名称
            订单关闭原因|退款金额
        """
        table(folder / f"ExportOrderList20260{3 + half}.csv", head, orders, "gb18030")
        lines = [
            {
                "订单编号": f'="{_taobao(number)}"', "标题": title(line.product), "价格": f"{line.price:.2f}",
                "购买数量": line.quantity, "商品属性": "颜色分类:红色", "订单状态": _state(number),
                "商家编码": sku(line.product),
            }
            for number in mine
            for line in LINES_OF[number]
        ]  # fmt: skip
        head = "订单编号|标题|价格|购买数量|外部系统编号|商品属性|套餐信息|备注|订单状态|商家编码|支付单号"
        table(folder / f"ExportOrderDetailList20260{3 + half}.csv", head, lines, "gb18030")
    goods = [
        {
            "宝贝ID": f"{520000000000 + n}\t", "宝贝名称": title(n), "宝贝类目": path(n).replace(" > ", ">>"),
            "商家编码": sku(n), "一口价": f"{5 + n:.2f}", "宝贝数量": 100, "宝贝状态": "出售中",
            "品牌": brand(n),
        }
        for n in range(24)
    ]  # fmt: skip
    head = "宝贝ID|宝贝名称|宝贝类目|店铺类目|商家编码|一口价|宝贝数量|宝贝状态|品牌|创建时间"
    table(folder / "宝贝列表.csv", head, goods, "gb18030")


def _taobao(order: int) -> int:
    return 2100859502851912253 + order


def _state(order: int) -> str:
    return "交易关闭" if order in UNDONE else "交易成功"


def json_lines(file: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """One object a line."""
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
