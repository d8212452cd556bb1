"""Chinese, Japanese and Korean words of headings and kinds of events, as the English ones that are known."""

from __future__ import annotations

import re
import unicodedata

_RUN = re.compile("[\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3]+")
HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff]")
KANA = re.compile("[\u3041-\u3096\u30a1-\u30fa]")
HANGUL = re.compile("[\uac00-\ud7a3]")

# By meaning: simplified, traditional and Japanese, then Korean. Of several that fit the longest counts.
_TERMS = {
    "user": "用户 用戶 会员 會員 客户 客戶 顾客 顧客 买家 買家 消费者 消費者 访客 訪客 "
    "購入者 ユーザー ユーザ 会員 고객 회원 구매자 사용자",
    "product": "商品 产品 產品 宝贝 寶貝 货品 貨品 单品 單品 物料 製品 アイテム 상품 제품 품목",
    "product id": "货号 貨號 款号 款號 商家编码 商家編碼 品番 商品码 商品碼 商品番号 商品コード 상품코드",
    "id": "编号 編號 号码 號碼 编码 編碼 代码 代碼 编 号 號 码 碼 番号 コード 번호 코드",
    "row": "序号 序號 行号 行號 순번",
    "ean": "条码 條碼 条形码 條形碼 バーコード 바코드",
    "order": "订单 訂單 单据 單據 下单 下單 注文 주문",
    "order id": "订单号 訂單號 单号 單號 流水号 流水號 注文番号 주문번호",
    "transaction": "交易 成交 取引 거래",
    "purchase": "购买 購買 购入 購入 구매",
    "payment": "支付 付款 支払 支払い 결제",
    "session": "会话 會話 セッション 세션",
    "quantity": "数量 數量 件数 件數 个数 個數 购买数 個数 수량 개수",
    "count": "次数 次數 总数 總數 数 數 건수 횟수 수",
    "amount": "金额 金額 금액",
    "paid amount": "实付金额 實付金額 实付款 實付款 实付 實付 实收 實收 支付金额 付款金额 支払金額 결제금액",
    "total": "合计 合計 总计 總計 总价 總價 总额 總額 小计 小計 共计 共計 합계 총액 총금액 소계",
    "sales": "销售额 銷售額 销售 銷售 売上 매출",
    "price": "价格 價格 单价 單價 售价 售價 价钱 价 價 単価 価格 定価 가격 단가 판매가",
    "discount": "优惠金额 優惠金額 优惠 優惠 折扣 割引 할인",
    "tax": "税 稅 税额 稅額 税費 消費税 세금",
    "shipping": "物流 运费 運費 邮费 郵費 送料 配送料 배송비",
    "time": "时间 時間 时刻 時刻 日時 시간 시각 일시",
    "date": "日期 日付 날짜 일자",
    "timestamp": "时间戳 時間戳 타임스탬프",
    "order time": "下单日 购买日 注文日 購入日 주문일 구매일 결제일",
    "created": "创建 創建 生成 作成 등록",
    "updated": "更新 修改 수정",
    "start": "开始 起始 生效 開始 시작",
    "end": "结束 結束 截止 失效 到期 終了 종료",
    "rating": "评分 評分 星级 星級 打分 满意度 評点 평점 별점",
    "review rating": "评价 評價 評価 평가",
    "review id": "评价编号 評價編號 评论编号 評論編號 评价号 评论号 点评编号",
    "review": "点评 點評 レビュー 口コミ 리뷰 후기",
    "comment": "评论 評論 留言 コメント 댓글",
    "relevance": "相关性 相關性 相关度 関連度 관련도",
    "label": "标签 標籤 标注 ラベル 라벨",
    "title": "标题 標題 タイトル 제목",
    "name": "名称 名稱 名 品名 이름 명칭 명",
    "product name": "商品名 产品名 品名 상품명 제품명",
    "description": "描述 详细 詳細 详情 詳情 介绍 介紹 简介 簡介 说明 說明 卖点 賣點 説明 설명 상세",
    "text": "内容 內容 正文 文本 본문 내용",
    "question": "问题 問題 提问 提問 问句 咨询 諮詢 質問 질문 문의",
    "answer": "答案 回答 回复 回覆 答复 答覆 解答 返信 답변",
    "intent": "意图 意圖 意図 의도",
    "sentiment": "情感 情绪 情緒 情感倾向 情感極性 感情 감정 감성",
    "topic": "话题 話題 主题 主題 トピック 주제",
    "brand": "品牌 牌子 ブランド 브랜드",
    "manufacturer": "厂商 廠商 厂家 廠家 制造商 製造商 生产商 メーカー 제조사",
    "supplier": "供应商 供應商 仕入先 공급사",
    "category": "类目 類目 品类 品類 分类 分類 类别 類別 种类 種類 大类 中类 小类 大類 中類 小類 类 類 "
    "カテゴリー カテゴリ ジャンル 카테고리 분류",
    "level": "一级 二级 三级 四级 一級 二級 三級 四級 级 級",
    "department": "部门 部門 부서",
    "search term": "搜索词 搜尋詞 搜索字词 查询词 查詢詞 検索語 検索ワード 검색어",
    "search": "搜索 搜尋 检索 检索词 查询 查詢 検索 검색",
    "keyword": "关键词 關鍵詞 关键字 關鍵字 キーワード 키워드",
    "event": "事件 イベント 이벤트",
    "behavior": "行为 行為 行動 행동",
    "action": "操作 动作 動作 アクション",
    "type": "类型 類型 タイプ 種別 유형 타입",
    "status": "状态 狀態 ステータス 状況 상태",
    "color": "颜色 顏色 色 カラー 색상 색깔",
    "size": "尺寸 尺码 尺碼 大小 サイズ 사이즈",
    "features": "规格 規格 参数 參數 属性 屬性 仕様 规格型号 규격 사양 옵션",
    "style": "型号 型號 款式 样式 样式 風格 风格 型番 モデル 모델 스타일",
    "material": "材质 材質 材料 素材 面料 소재 재질",
    "ad": "广告 廣告 広告 광고",
    "creative": "创意 創意 クリエイティブ",
    "campaign": "活动 活動 促销 促銷 キャンペーン 캠페인",
    "coupon": "优惠券 優惠券 折价券 代金券 クーポン 쿠폰",
    "shop": "店铺 店鋪 商铺 门店 商家 卖家 賣家 店舗 ショップ 매장 상점 판매자",
    "stock": "库存 庫存 在庫 재고",
    "fullname": "姓名 收货人 收貨人 收件人 联系人 聯絡人 真实姓名 氏名 お名前 受取人 성명 수령인 받는사람",
    "nickname": "昵称 暱稱 账号 賬號 帳號 帐号 账户 賬戶 帳戶 帐户 用户名 用戶名 会员名 會員名 "
    "ニックネーム アカウント 닉네임 아이디 계정",
    "mobile": "手机 手機 手机号 手機號 手机号码 手機號碼 携帯 携帯電話 휴대폰 휴대전화 핸드폰",
    "phone": "电话 電話 联系方式 聯絡方式 電話番号 전화 전화번호 연락처",
    "address": "地址 住址 收货地址 收貨地址 住所 주소 배송지",
    "email": "邮箱 郵箱 邮件 郵件 电子邮箱 電子郵件 メール メールアドレス 이메일 메일",
    "postcode": "邮编 郵編 邮政编码 郵遞區號 郵便番号 우편번호",
    "birthday": "生日 出生日期 出生年月 生年月日 誕生日 생일 생년월일",
    "idcard": "身份证 身分證 身份证号 身份证号码 身分證號 身分證字號 证件号 护照 マイナンバー 주민등록번호",
    "iban": "银行卡 銀行卡 银行账号 口座番号 계좌번호",
    "account": "微信 微信号 支付宝 支付寶 카카오톡",
    "anonymous": "匿名 익명",
    "age": "年龄 年齡 年齢 年龄段 年齡段 年龄层 年代 나이 연령 연령대",
    "gender": "性别 性別 성별",
    "income": "收入 年収 소득",
    "maritalstatus": "婚姻 婚姻状况 婚姻狀況 결혼여부",
    # Kinds of events, and what becomes of orders.
    "view": "浏览 瀏覽 查看 访问 訪問 閲覧 조회",
    "click": "点击 點擊 クリック 클릭",
    "impression": "曝光 展示 展现 表示 노출",
    "add to cart": "加购 加購 加购物车 加入购物车 加入購物車 购物车 購物車 カート カート追加 장바구니",
    "favorite": "收藏 关注 喜欢 点赞 心愿单 お気に入り 찜 위시리스트",
    "redeemed": "核销 核銷 已核销 已核銷",
    "share": "分享 转发 轉發 シェア 共有 공유",
    "cancelled": "取消 已取消 交易关闭 交易關閉 已关闭 已關閉 キャンセル 취소",
    "refunded": "退款 已退款 退款成功 返金 환불",
    "returned": "退货 退貨 已退货 已退貨 退换货 返品 반품",
    "unpaid": "待付款 未付款 待支付 未支付 等待买家付款 未入金 미결제",
    "draft": "草稿 下書き",
    "unpublished": "下架 已下架 停售 販売停止 非公開 판매중지",
    "hidden": "隐藏 隱藏 非表示 숨김",
    "published": "发布 發佈 上架 公開 공개",
    "failed": "失败 失敗 支付失败 실패",
}  # fmt: skip
_MEANING = {term: tuple(english.split()) for english, terms in _TERMS.items() for term in terms.split()}
_LONGEST = max(map(len, _MEANING))
_PARTICLES = frozenset("的之の及和与")


def pieces(name: str) -> list[tuple[str, tuple[str, ...]]]:
    """A name cut where its script changes.

    Returns:
        Each piece of other scripts with no words; of these scripts with the English words that it means, and
        what is not known as it is.
    """
    name = unicodedata.normalize("NFKC", name)
    found: list[tuple[str, tuple[str, ...]]] = []
    at = 0
    for run in _RUN.finditer(name):
        found += [(name[at : run.start()], ()), (run[0], _meaning(run[0]))]
        at = run.end()
    return [*found, (name[at:], ())]


def _meaning(run: str) -> tuple[str, ...]:
    """The English words of a run, the longest term that starts at each place first."""
    found: list[str] = []
    unknown = ""
    at = 0
    while at < len(run):
        left = len(run) - at
        # A single sign tells by its place: 号 is a number at the end of a name, and none within another word.
        least = 1 if left == 1 else 2
        size = next((n for n in range(min(_LONGEST, left), least - 1, -1) if run[at : at + n] in _MEANING), 0)
        if size and unknown:
            found, unknown = [*found, unknown], ""
        if size:
            found += _MEANING[run[at : at + size]]
        elif run[at] not in _PARTICLES:
            unknown += run[at]
        at += size or 1
    return tuple([*found, unknown] if unknown else found)
