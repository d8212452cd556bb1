"""An invented shop with data in Chinese, as its systems export them: CSV in GB18030, always the same bytes.

    python -m kgdistill.datasets.chinese_shop FOLDER

What is planted: customers keep to a department, to a few of its brands and to one look; products of one set
("goes with") are bought within days of each other; who likes a campaign's brand redeems its coupons.
"""

from __future__ import annotations

import csv
import io
import random
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from kgdistill.tasks.protocol import DiscoveryProtocol

ENCODING = "gb18030"
PRODUCTS, BRANDS, CUSTOMERS = 300, 40, 400
_BEGIN, _DAYS = datetime(2024, 1, 1), 240

# department > category > kind: what is sold, its price and what it is measured in.
_KINDS: dict[tuple[str, str], dict[str, tuple[float, tuple[str, ...]]]] = {
    ("服装", "女装"): {
        "连衣裙": (199, ("S码", "M码", "L码")),
        "牛仔裤": (159, ("26码", "28码", "30码")),
        "针织衫": (129, ("均码", "L码")),
    },
    ("服装", "男装"): {
        "衬衫": (139, ("39码", "41码")),
        "夹克": (299, ("L码", "XL码")),
        "休闲裤": (149, ("32码", "34码")),
    },
    ("家居", "厨房用品"): {
        "电饭煲": (329, ("3升", "4升", "5升")),
        "炒锅": (189, ("30厘米", "32厘米")),
        "保温杯": (79, ("350毫升", "500毫升")),
    },
    ("家居", "床上用品"): {"四件套": (269, ("1.5米床", "1.8米床")), "枕头": (89, ("单只", "一对"))},
    ("食品", "茶叶"): {"绿茶": (98, ("100克", "250克")), "乌龙茶": (118, ("125克", "250克"))},
    ("食品", "零食"): {"坚果": (59, ("500克", "750克")), "饼干": (25, ("200克", "400克"))},
    ("数码", "手机配件"): {
        "手机壳": (39, ("6.1寸", "6.7寸")),
        "充电器": (69, ("20瓦", "65瓦")),
        "数据线": (29, ("1米", "2米")),
    },
    ("美妆", "护肤"): {"面霜": (149, ("50克", "30克")), "洁面乳": (69, ("100克", "150克"))},
}  # fmt: skip
_LOOKS = {
    "服装": ("红色修身", "蓝色宽松", "黑色简约", "碎花复古"),
    "家居": ("不锈钢", "北欧风", "轻奢", "儿童卡通"),
    "食品": ("有机", "无糖", "礼盒装", "家庭装"),
    "数码": ("磁吸", "快充", "透明", "编织"),
    "美妆": ("保湿", "美白", "敏感肌", "抗皱"),
}
_FIRST, _SECOND = "山云林海星月禾青", "岚舟语风原"
_SOUNDS = {
    "山": "SHAN", "云": "YUN", "林": "LIN", "海": "HAI", "星": "XING", "月": "YUE", "禾": "HE", "青": "QING",
    "岚": "LAN", "舟": "ZHOU", "语": "YU", "风": "FENG", "原": "YUAN",
}  # fmt: skip
# What is bought together, whatever one's department.
_SETS = (
    ("电饭煲", "炒锅"),
    ("绿茶", "保温杯"),
    ("手机壳", "数据线"),
    ("面霜", "洁面乳"),
    ("连衣裙", "针织衫"),
)
_INTENTS: dict[str, tuple[str, str]] = {
    "查物流": (
        "您的包裹正在路上，可在订单页查看物流。",
        "我的{kind}到哪了 {kind}什么时候能到 快递怎么还没送到 物流三天没有更新了",
    ),
    "退换货": (
        "签收后七天内可以申请退换，运费由我们承担。",
        "{kind}可以退吗 收到的{kind}有破损想换一个 尺码不合适怎么换货 怎么申请退款",
    ),
    "开发票": (
        "请在订单页点击开具发票并填写抬头。",
        "能开发票吗 {kind}的发票怎么开 发票抬头写错了 电子发票发到哪里",
    ),
    "问优惠": (
        "当前活动的优惠券可以在活动页领取。",
        "{kind}有优惠券吗 现在买{kind}有活动吗 满减怎么算 优惠券为什么用不了",
    ),
    "问商品": (
        "规格和材质请见商品详情，也可以告诉我们您的需求。",
        "{kind}是什么材质的 {kind}有几种颜色 {kind}适合送人吗 {kind}怎么保养",
    ),
}


@dataclass(frozen=True)
class _Product:
    key: str
    title: str
    brand: int
    department: str
    path: str
    kind: str
    look: str
    size: str
    price: float
    since: int


def brand_name(brand: int) -> str:
    """As the brand is called in most rows."""
    return _FIRST[brand % len(_FIRST)] + _SECOND[brand // len(_FIRST)]


def brand_spellings(brand: int) -> tuple[str, ...]:
    """As it is written here and there; a few brands in three ways."""
    name = brand_name(brand)
    sound = "".join(_SOUNDS[letter] for letter in name)
    return (name, sound, f"{name}（{sound}）") if brand % 10 == 0 else (name,)


def _products(draw: random.Random) -> list[_Product]:
    kinds = [(*place, kind, *what) for place, under in _KINDS.items() for kind, what in under.items()]
    departments = list(_LOOKS)
    made = []
    for n in range(PRODUCTS):
        department, category, kind, price, sizes = kinds[n % len(kinds)]
        # Eight brands a department.
        turn = (n // len(kinds) + draw.randrange(2)) % (BRANDS // len(departments))
        brand = departments.index(department) + len(departments) * turn
        look, size = draw.choice(_LOOKS[department]), draw.choice(sizes)
        name = draw.choice(brand_spellings(brand))
        made.append(
            _Product(
                f"SP{10_000 + 7 * n}", f"{name}{look}{kind} {size}", brand, department,
                f"{department}>{category}>{kind}", kind, look, size,
                round(price * draw.uniform(0.7, 1.5), 2), 0 if n % 6 else draw.randrange(30, _DAYS - 20),
            )
        )  # fmt: skip
    return made


@dataclass(frozen=True)
class _Customer:
    key: str
    departments: tuple[str, str]
    brands: frozenset[int]
    looks: frozenset[str]

    def likes(self, product: _Product) -> float:
        """How much more often than another this product is bought."""
        weight = 12.0 if product.department == self.departments[0] else 1.0
        weight = 3.0 if product.department == self.departments[1] else weight
        return (
            weight
            * (5.0 if product.brand in self.brands else 1.0)
            * (3.0 if product.look in self.looks else 1.0)
        )


def _customers(draw: random.Random) -> list[_Customer]:
    made = []
    for n in range(CUSTOMERS):
        first, second = draw.sample(list(_LOOKS), 2)
        brands = [b for b in range(BRANDS) if list(_LOOKS)[b % len(_LOOKS)] in (first, second)]
        looks = [draw.choice(_LOOKS[department]) for department in (first, second)]
        made.append(
            _Customer(
                f"YH{2_000 + 3 * n}", (first, second), frozenset(draw.sample(brands, 3)), frozenset(looks)
            )
        )
    return made


def _bought(customer: _Customer, day: int, products: list[_Product], draw: random.Random) -> list[_Product]:
    """One to three products of a day, and what goes with one of them now and then."""

    def some_of(among: list[_Product], count: int) -> list[_Product]:
        return draw.choices(among, [customer.likes(product) for product in among], k=count)

    there = [product for product in products if product.since <= day]
    bought = some_of(there, draw.randint(1, 3))
    for product in list(bought):
        for wanted in (
            kind for pair in _SETS if product.kind in pair for kind in pair if kind != product.kind
        ):
            if draw.random() < 0.35:
                bought += some_of([other for other in there if other.kind == wanted], 1)
    return list(dict.fromkeys(bought))


def _moment(day: int, draw: random.Random, style: int) -> str:
    """A time of that day, as one of three systems writes it."""
    at = _BEGIN + timedelta(days=day, hours=draw.randint(8, 22), minutes=draw.randint(0, 59))
    if style == 0:
        return f"{at.year}/{at.month}/{at.day} {at.hour}:{at.minute:02}"
    if style == 1:
        return f"{at.year}年{at.month}月{at.day}日 {at.hour}时{at.minute:02}分"
    return f"{at:%Y.%m.%d}"


def _orders(
    customers: list[_Customer], products: list[_Product], draw: random.Random
) -> dict[str, list[list[str]]]:
    """The lines of each month's file."""
    files: dict[str, list[list[str]]] = {}
    days = sorted((draw.randrange(_DAYS), draw.randrange(CUSTOMERS)) for _ in range(6 * CUSTOMERS))
    for number, (day, who) in enumerate(days):
        customer, month = customers[who], (_BEGIN + timedelta(days=day)).month
        at = _moment(day, draw, 0)
        for product in _bought(customer, day, products, draw):
            count = draw.choice((1, 1, 1, 2))
            line = [
                f"DD{100_000 + number}",
                at,
                customer.key,
                product.key,
                str(count),
                f"{product.price:.2f}",
            ]
            files.setdefault(f"订单_2024年{month:02}月.csv", []).append(
                [*line, f"{count * product.price:.2f}"]
            )
    return files


def _searches(
    customers: list[_Customer], products: list[_Product], draw: random.Random
) -> Iterable[list[str]]:
    """Who typed what, and what was clicked of what was found; one in five finds nothing to click."""
    for _ in range(4 * CUSTOMERS):
        customer, day = draw.choice(customers), draw.randrange(_DAYS)
        there = [product for product in products if product.since <= day]
        product = draw.choices(there, [customer.likes(p) for p in there])[0]
        brand = brand_name(product.brand)
        text = draw.choice(
            (product.kind, product.look + product.kind, brand + product.kind, f"{brand} {product.look}")
        )
        yield [customer.key, text, _moment(day, draw, 1), product.key if draw.random() < 0.8 else ""]


def _campaigns(
    customers: list[_Customer], products: list[_Product], draw: random.Random
) -> dict[str, list[list[str]]]:
    """Twelve campaigns, each of a brand: what it is for, to whom it went, and who redeemed a coupon."""
    about, coupons, sent, redeemed = [], [], [], []
    for n in range(12):
        brand, day = draw.randrange(BRANDS), 15 + 17 * n
        key, sold = f"HD{n + 1:02}", [p for p in products if p.brand == brand] or products[:3]
        about.append(
            [
                key,
                f"{brand_name(brand)}{draw.choice(('新品', '满减', '会员日'))}",
                _moment(day, draw, 2),
                _moment(day + 20, draw, 2),
            ]
        )
        coupons += [[f"{key}-{product.key}", key, product.key] for product in sold]
        for customer in draw.sample(customers, 160):
            sent.append([key, customer.key, _moment(day, draw, 2)])
            liked = [p for p in sold if customer.likes(p) >= 12]
            if draw.random() < (0.45 if brand in customer.brands else 0.12 if liked else 0.02):
                product = draw.choice(liked or sold)
                redeemed.append(
                    [customer.key, f"{key}-{product.key}", _moment(day + draw.randint(1, 19), draw, 2)]
                )
    return {"营销活动.csv": about, "优惠券.csv": coupons, "活动发送.csv": sent, "优惠券核销.csv": redeemed}


def _questions(products: list[_Product], draw: random.Random) -> list[list[str]]:
    """What customers asked, what they wanted, and what they were told."""
    lines = []
    for n in range(300):
        intent = draw.choice(list(_INTENTS))
        answer, questions = _INTENTS[intent]
        asked = draw.choice(questions.split()).format(kind=draw.choice(products).kind)
        asked = (
            draw.choice(("", "请问", "你好，", "亲，"))
            + asked
            + draw.choice(("", "？", "呢", "吗？" if not asked.endswith("吗") else ""))
        )
        lines.append([f"WT{n + 1:04}", asked, intent, answer])
    return lines


_HEADINGS = {
    "商品.csv": ["商品编号", "标题", "品牌", "类目", "款式", "规格", "单价", "上架时间"],
    "订单": ["订单号", "下单时间", "用户ID", "商品编号", "数量", "单价", "实付金额"],
    "搜索日志.csv": ["用户ID", "搜索词", "搜索时间", "点击商品编号"],
    "营销活动.csv": ["活动编号", "活动名称", "开始日期", "结束日期"],
    "优惠券.csv": ["优惠券编号", "活动编号", "商品编号"],
    "活动发送.csv": ["活动编号", "用户ID", "发送时间"],
    "优惠券核销.csv": ["用户ID", "优惠券编号", "核销时间"],
    "客服问题.csv": ["问题编号", "问题", "意图", "答复"],
    "品牌别名.csv": ["alias", "name"],
}


def chinese_shop() -> dict[str, list[list[str]]]:
    """The rows of each file, below its headings."""
    draw = random.Random(8)
    products, customers = _products(draw), _customers(draw)
    files = {
        "商品.csv": [
            [p.key, p.title, draw.choice(brand_spellings(p.brand)), p.path, p.look, p.size, f"{p.price:.2f}",
             _moment(p.since, draw, 2)]
            for p in products
        ],
        **_orders(customers, products, draw),
        "搜索日志.csv": list(_searches(customers, products, draw)),
        **_campaigns(customers, products, draw),
        "客服问题.csv": _questions(products, draw),
        "品牌别名.csv": [
            [spelled, brand_name(brand)] for brand in range(BRANDS) for spelled in brand_spellings(brand)[1:]
        ],
    }  # fmt: skip
    return {
        name: [_HEADINGS["订单" if name.startswith("订单") else name], *rows] for name, rows in files.items()
    }


def chinese_shop_protocol() -> DiscoveryProtocol:
    """Train until the middle of June, validation until the middle of July, test until the end of August."""
    return DiscoveryProtocol(
        name="chinese-shop-discovery",
        title="中文示例店，新品推荐",
        # Midnight in Shanghai.
        cut=datetime(2024, 6, 14, 16),
        test_start=datetime(2024, 7, 14, 16),
        user_column="用户",
    )


def write_chinese_shop(folder: Path) -> None:
    """Writes every file below a folder, in GB18030."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in chinese_shop().items():
        out = io.StringIO()
        csv.writer(out).writerows(rows)
        (folder / name).write_bytes(out.getvalue().encode(ENCODING))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("python -m kgdistill.datasets.chinese_shop FOLDER")
    write_chinese_shop(Path(sys.argv[1]))
