"""How well Chinese, Japanese and Korean bytes read in an encoding: by the signs that those languages use."""

from __future__ import annotations

import re
import unicodedata
from functools import cache

from kgdistill.ingest.propose.eastern import pieces

OF_TWO_BYTES = ("gb18030", "cp932", "big5", "cp949", "euc_jp")
# The signs that stand most in texts of shops.
_SIMPLIFIED = (
    "的一是不了在人有我他这个们中来上大为和国地到以说时要就出会可也你对生能而子那得于着下自之年过发后作里用道行所然"
    "家种事成方多经么去法学如都同现当没动面起看定天分还进好小部其些主样理心本前开但因只从想实日军者意无力它与长把机"
    "十民第公此已工使情明性知全三又关点正业外将两高间由问很最重并物手应战向头文体政美相见被利什二等产或新己制身果加"
    "西斯月话合回特代内信表化老给世位次度门任常先海通教儿原东声提立及比员解水名真论处走义各入几口认条平系气题活尔更"
    "别打女变四神何电数安少报才结反受目太量再感建务做接必场件计管期市直德资命山金指克许统区保至队形社便空决治展马科"
    "司五基眼书非则听白却界达光放强即像难且权思王象完设式色路记南品住告类求据程北边死张该交规万取拉格望觉术领共确传"
    "师观清今切院让识候带导争运笔房酒店卖买商单价格货订户客款包装套码鞋衣服饰裤裙袜帽礼盒箱包茶果奶米油盐糖食材厨锅"
    "煲壶杯碗刀家居床被枕灯具玩童孕婴纸洗发护肤霜膜香皂牙刷毛巾智手环表耳机线充器屏壳膜贴笔记本脑键鼠标冰箱洗空调风"
    "扇净器车载运动防水男女夏冬春秋季棉麻丝绒真皮钢铁木竹塑玻璃陶瓷软硬厚薄长短大小号红黄蓝绿黑白灰粉紫棕金银苏宁京东"
    "淘宝天猫小米华为美的格力海尔已付款完成取消退货发货收待评价好差推荐质满意快递物流客户编号名称数量日期时间状态"
)
_TRADITIONAL = (
    "的一是不了在人有我他這個們中來上大為和國地到以說時要就出會可也你對生能而子那得於著下自之年過發後作裡用道行所然"
    "家種事成方多經麼去法學如都同現當沒動面起看定天分還進好小部其些主樣理心本前開但因只從想實日軍者意無力它與長把機"
    "十民第公此已工使情明性知全三又關點正業外將兩高間由問很最重並物手應戰向頭文體政美相見被利什二等產或新己制身果加"
    "西斯月話合回特代內信表化老給世位次度門任常先海通教兒原東聲提立及比員解水名真論處走義各入幾口認條平系氣題活爾更"
    "別打女變四神何電數安少報才結反受目太量再感建務做接必場件計管期市直德資命山金指克許統區保至隊形社便空決治展馬科"
    "司五基眼書非則聽白卻界達光放強即像難且權思王象完設式色路記南品住告類求據程北邊死張該交規萬取拉格望覺術領共確傳"
    "師觀清今切院讓識候帶導爭運筆房酒店賣買商單價格貨訂戶客款包裝套碼鞋衣服飾褲裙襪帽禮盒箱茶果奶米油鹽糖食材廚鍋"
    "煲壺杯碗刀家居床被枕燈具玩童孕嬰紙洗發護膚霜膜香皂牙刷毛巾智慧型手環錶耳機線充器螢幕殼貼筆記型腦鍵鼠標冰箱空調"
    "風扇淨車載運動防水男女夏冬春秋季純棉麻絲絨皮鋼鐵不鏽木竹塑膠玻璃陶瓷軟硬厚薄長短號紅黃藍綠黑白灰粉紫棕金銀炒無藍"
    "芽四件組烏龍腳踏已付款完成取消退貨出貨收待評價好差推薦質滿意快遞物流客戶編號名稱數量日期時間狀態台灣臺北"
)
_JAPANESE = (
    "一右雨円王音下火花貝学気九休玉金空月犬見五口校左三山子四糸字耳七車手十出女小上森人水正生青夕石赤千川先早草足村大"
    "男竹中虫町天田土二日入年白八百文木本名目立力林六引羽雲園遠何科夏家歌画回会海絵外角楽活間丸岩顔汽記帰弓牛魚京強教"
    "近兄形計元言原戸古午後語工公広交光考行高黄合谷国黒今才細作算止市矢姉思紙寺自時室社弱首秋週春書少場色食心新親図数"
    "西声星晴切雪船線前組走多太体台地池知茶昼長鳥朝直通弟店点電刀冬当東答頭同道読内南肉馬売買麦半番父風分聞米歩母方北"
    "毎妹万明鳴毛門夜野友用曜来里理話悪安暗医委意育員院飲運泳駅央横屋温化荷開界階寒感漢館岸起期客究急級宮球去橋業曲局"
    "銀区苦具君係軽血決研県庫湖向幸港号根祭皿仕死使始指歯詩次事持式実写者主守取酒受州拾終習集住重宿所暑助昭消商章勝乗"
    "植申身神真深進世整昔全相送想息速族他打対待代第題炭短談着注柱丁帳調追定庭笛鉄転都度投豆島湯登等動童農波配倍箱畑発"
    "反坂板皮悲美鼻筆氷表秒病品負部服福物平返勉放味命面問役薬由油有遊予羊洋葉陽様落流旅両緑礼列練路和済達達会注文番号"
    "価格製品販売在庫税込送料無料予約完了取消評価状態名称数量単価合計金額顧客購入者届先住所電話炊飯器洗濯剤枕綿絹革靴鞄"
    "帽傘鍋茶碗箸皿椅机掃除機冷蔵庫携帯端末充電池画面言語出版社漫画小説雑誌文庫新刊古本音楽映画作家著者編集巻冊良可付未"
)
_KOREAN = (
    "이다에의는로하을가고지서한은기으년대사시를리도인스일정자수그어나보아들장만전주상해제원과부성구국조여소비신동면공우세"
    "선마미유경오무있안적드라모용화치진학게생습니호단관물금위내중실분개차회문최식레트산행현남연방재바반계명달발당북할것"
    "관결영없했되된음입때등강말월요간각질양심매체집저노래두력민른너와태체표확주문번호배송완료취소반품결제상품코드가격수량"
    "회원고객이름브랜드카테고리색사이즈할인쿠폰리뷰후기평점별점검색구매판매전기밥솥노트북세탁세제무선폰녹차선물트순면베커버프라팬테인"
    "스블루투청키보드마우의류신발방시계화장품크림샴푸린치약칫솔휴지커피음료과자쌀간식김치라면생활주용컵접시냄비칼도마조명침대불책완구"
)
_COMMON = {
    "gb18030": frozenset(_SIMPLIFIED),
    "big5": frozenset(_TRADITIONAL),
    "cp932": frozenset(_JAPANESE),
    "euc_jp": frozenset(_JAPANESE),
    "cp949": frozenset(_KOREAN),
}
# The lead bytes of the signs that a standard lists first, as those in use; it is the one of the codec named.
_IN_USE = {
    "gb18030": ("gb2312", range(0xB0, 0xD8)),
    "big5": ("big5", range(0xA4, 0xC7)),
    "cp932": ("euc_jp", range(0xB0, 0xD0)),
    "euc_jp": ("euc_jp", range(0xB0, 0xD0)),
    "cp949": ("euc_kr", range(0xB0, 0xC9)),
}
_RUN = re.compile(r"[^\x00-\x7f]+")
_HALF_KANA = re.compile("[\uff61-\uff9f]")
_LOST, _NEVER, _ODD, _USED, _USUAL = -5.0, -1.0, -0.5, 0.2, 1.0
_RUNS = 3_000
# Real text comes to more, what is read in another encoding to less; what stands above the other is sure.
READS, SURE = 0.3, 0.5


def eastern_score(foreign: bytes, name: str) -> float:
    """How usual the signs are that the encoding reads, from 1, of its language, to below 0, of none."""
    runs = list(dict.fromkeys(_RUN.findall(foreign.decode(name, "replace"))))[:_RUNS]
    total, signs = 0.0, 0
    for run in runs:
        scores = [score for sign in run if (score := _score(sign, name)) is not None]
        if len(scores) > 1 and _is_heading(run):
            scores = [max(score, _USUAL) for score in scores]
        elif 0 < len(_HALF_KANA.findall(run)) < len(run):
            # Half-width kana come alone; among other signs they are bytes of something else.
            scores = [min(score, _ODD) for score in scores]
        total, signs = total + sum(scores), signs + len(scores)
    return total / signs if signs else 0.0


def _is_heading(run: str) -> bool:
    """Whether it is made of words that headings are known by, and nothing else."""
    some = [known for piece, known in pieces(run) if piece]
    return all(known and all(word.isascii() for word in known) for known in some)


@cache
def _score(sign: str, name: str) -> float | None:
    """How usual a sign is in texts of an encoding; None of signs that say nothing, such as full stops."""
    if sign == "\ufffd":
        return _LOST
    kind = unicodedata.category(sign)
    if kind in ("Co", "Cn", "Cc"):
        return _NEVER
    if kind[0] != "L":
        return None
    japanese = name in ("cp932", "euc_jp")
    if "\u3041" <= sign <= "\u30ff":
        return _USUAL if japanese else _ODD
    if _HALF_KANA.match(sign):
        return _USED if name == "cp932" else _ODD
    if ("\uac00" <= sign <= "\ud7a3") != (name == "cp949") or sign < "\u3000":
        return _ODD
    if sign in _COMMON[name]:
        return _USUAL
    standard, leads = _IN_USE[name]
    code = sign.encode(standard, "ignore")
    if len(code) == 2 and code[0] in leads:
        return _USED
    return _ODD if code else _NEVER


def best_eastern(foreign: bytes) -> tuple[str, float]:
    """The encoding of two bytes that reads the lines best, and how well it does."""
    scores = {name: eastern_score(foreign, name) for name in OF_TWO_BYTES}
    return max(scores.items(), key=lambda item: item[1])
