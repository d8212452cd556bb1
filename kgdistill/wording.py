"""What people are told of a recommendation, in English and in Chinese."""

from __future__ import annotations

from typing import Literal, TypeAlias, cast, get_args

from kgdistill.errors import InputError
from kgdistill.words import scripts

Language: TypeAlias = Literal["en", "zh"]

_SAID: dict[str, dict[Language, str]] = {
    "and more": {"en": " and {count} more", "zh": "等{all}件"},
    "brand": {
        "en": "{event} {item}{more}, made by {name} as this is",
        "zh": "{event}{item}{more}，与这件同是{name}的",
    },
    "category": {
        "en": "{event} {item}{more}, of {name} as this is",
        "zh": "{event}{item}{more}，与这件同属“{name}”",
    },
    "some of": {
        "en": "{event} {count} of {name}, as this is",
        "zh": "{event}{count}件“{name}”，这件也是",
    },
    "usual share": {"en": ": {lift:.1f} times the usual share", "zh": "，占比是常人的{lift:.1f}倍"},
    "together": {
        "en": "{support} who {event} {item} also {event} this, {lift:.1f} times as many as by chance",
        "zh": "{event}{item}的人里有{support}人也{event}这件，是偶然情况的{lift:.1f}倍",
    },
    "seen": {"en": "{event} this before", "zh": "{event}这件"},
    "seen often": {"en": "{event} this {times} times", "zh": "{event}这件{times}次"},
    "led": {
        "en": "{event} {name}, which leads to this {lift:.1f} times as often as to others",
        "zh": "{event}{name}，由此到这件的可能是其他商品的{lift:.1f}倍",
    },
    "like": {"en": "like {item}", "zh": "与{item}相近"},
    "bought by": {"en": "bought by who bought {item}", "zh": "买过{item}的人也买"},
    "goes with": {"en": "goes with {item}", "zh": "与{item}搭配"},
    "in one basket beyond chance": {
        "en": "{support} bought it together with {item}, {lift:.1f} times as many as by chance",
        "zh": "有{support}人把它和{item}一起买，是偶然情况的{lift:.1f}倍",
    },
    "in one basket": {
        "en": "{support} bought it together with {item}",
        "zh": "有{support}人把它和{item}一起买",
    },
    "groups in one basket": {
        "en": "{item} is of {own}: with that people buy {other}, {lift:.1f} times as many as by chance",
        "zh": "{item}属于“{own}”，买它时同时买“{other}”的人是偶然情况的{lift:.1f}倍",
    },
    "of a group": {
        "en": "{item} is of {own}: with that people buy {other} at times",
        "zh": "{item}属于“{own}”，买它时有人同时买“{other}”",
    },
    "same group": {"en": "of {own}, as {item} is", "zh": "与{item}同属“{own}”"},
    "another": {"en": "{event} {item}", "zh": "因{event}{item}"},
    "this itself": {"en": "{event} before", "zh": "之前{event}"},
    "again": {
        "en": "{event} {times} times, {every}, last {last}",
        "zh": "{event}{times}次，{every}，上次是{last}",
    },
    "once": {"en": "{event} once, {last}", "zh": "{last}{event}一次"},
    "every days": {"en": "every {days} days", "zh": "约每{days}天一次"},
    "every day": {"en": "every day", "zh": "约每天一次"},
    "days ago": {"en": "{days} days ago", "zh": "{days}天前"},
    "yesterday": {"en": "yesterday", "zh": "昨天"},
    "today": {"en": "today", "zh": "今天"},
    "popular": {"en": "popular", "zh": "热门"},
    "same": {"en": "same {fields} as {item}", "zh": "与{item}{fields}相同"},
    "same part": {"en": "{part}, as {item} is", "zh": "与{item}同为“{part}”"},
    "broader": {"en": "broader ", "zh": "上级"},
    "and": {"en": " and ", "zh": "和"},
    "likeness": {"en": "its likeness to what was bought", "zh": "与买过的商品相近"},
    "from baskets": {"en": "what goes with what was bought", "zh": "与买过的商品搭配"},
    "from buyers": {"en": "what others who bought the same bought", "zh": "买过同样商品的人也买"},
    "popularity": {"en": "its popularity", "zh": "热门"},
    "sameness": {"en": "the same {fields}", "zh": "{fields}相同"},
    "sameness of": {"en": "the same {fields} ({part})", "zh": "{fields}相同（{part}）"},
    "rank": {"en": "rank {rank:,} of {ranked:,}", "zh": "在{ranked:,}件商品中排第{rank:,}"},
    "speaks": {"en": "{share:.0%} of what speaks for it is {term}", "zh": "理由中“{term}”占{share:.0%}"},
    "without one": {
        "en": "without {item} it would be rank {after:,}",
        "zh": "如果没买过{item}，会排第{after:,}",
    },
    "without some": {
        "en": "without the {count} of {name} it would be rank {after:,}",
        "zh": "如果没买过那{count}件“{name}”，会排第{after:,}",
    },
    "without all": {
        "en": "without any purchase, by popularity alone, it would be rank {after:,}",
        "zh": "如果什么都没买过，仅按热门程度会排第{after:,}",
    },
    "teacher elsewhere": {
        "en": "the teacher, which has the graph, puts it at {teacher:,} and the student at {student:,}",
        "zh": "有图的教师模型把它排在第{teacher:,}，学生模型排在第{student:,}",
    },
    "teacher beyond": {
        "en": "the teacher, which has the graph, has it not among its best {best:,}; the student puts it at "
        "{student:,}",
        "zh": "有图的教师模型没有把它排进前{best:,}，学生模型排在第{student:,}",
    },
    "no short path": {
        "en": "no short path; by the student's vectors",
        "zh": "没有短路径；由学生模型的向量推荐",
    },
    "nothing bought": {
        "en": "{user} has no purchase: nothing is known",
        "zh": "{user}没有购买记录，无从了解",
    },
    "nothing bought before": {
        "en": "{user} bought nothing before {before}: nothing is known",
        "zh": "{user}在{before}之前没有买过任何商品，无从了解",
    },
    "who": {"en": "{user} {did}", "zh": "{user}{did}"},
    "did": {"en": "{event} {products} product{s}", "zh": "{event}{products}种商品"},
    "did above": {
        "en": "{event} {products} product{s} above {above}",
        "zh": "{event}{products}种商品（高于{above}分）",
    },
    "did searches": {"en": "{event} {products} thing{s}", "zh": "{event}{products}个不同的词"},
    "did texts": {"en": "{event} {products} thing{s}", "zh": "{event}{products}条不同的内容"},
    "typed last": {"en": 'last "{names}"', "zh": "最近是“{names}”"},
    "mostly done": {"en": "more than others of {names}", "zh": "比别人更多的是{names}"},
    "of brands done": {"en": "more than others by {names}", "zh": "品牌比别人更多的是{names}"},
    "at times done": {"en": "mostly {names}", "zh": "多在{names}"},
    "more at times done": {"en": "more often than others {names}", "zh": "比别人更多在{names}"},
    "mostly": {"en": "more than others of {names}", "zh": "比别人更常买{names}"},
    "of brands": {"en": "more than others by {names}", "zh": "更常选品牌{names}"},
    "of kinds": {"en": "more than others with {names}", "zh": "比别人更多的是{names}"},
    "low prices": {"en": "the cheaper ones of their kind", "zh": "多选同类中较便宜的"},
    "middle prices": {
        "en": "neither the cheapest nor the dearest of their kind",
        "zh": "多选同类中价格居中的",
    },
    "high prices": {"en": "the dearer ones of their kind", "zh": "多选同类中较贵的"},
    "at times": {"en": "mostly {names}", "zh": "多在{names}购买"},
    "more at times": {"en": "more often than others {names}", "zh": "比别人更常在{names}购买"},
    "weekday": {"en": "on weekdays", "zh": "工作日"},
    "weekend": {"en": "at weekends", "zh": "周末"},
    "night": {"en": "at night", "zh": "夜里"},
    "morning": {"en": "in the morning", "zh": "上午"},
    "afternoon": {"en": "in the afternoon", "zh": "下午"},
    "evening": {"en": "in the evening", "zh": "晚上"},
    "comma": {"en": ", ", "zh": "，"},
    "semicolon": {"en": "; ", "zh": "；"},
    "stop": {"en": ".", "zh": "。"},
    "no path": {
        "en": "no path of the graph leads from what {user} bought to {item}",
        "zh": "图中没有从{user}买过的商品通向{item}的路径",
    },
}
_EVENTS: dict[str, tuple[str, str]] = {
    "BOUGHT": ("bought", "买过"),
    "VIEWED": ("viewed", "看过"),
    "ADDED": ("put into the basket", "加购过"),
    "FAVORITED": ("put on the wish list", "收藏过"),
    "SHARED": ("shared", "分享过"),
    "COMMENTED": ("commented on", "评论过"),
    "RATED": ("rated", "评价过"),
    "SEARCHED": ("searched for", "搜索过"),
    "SAID": ("said", "说过"),
    "CLICKED": ("clicked on", "点击过"),
    "SAW": ("saw", "看到过"),
    "REDEEMED": ("redeemed", "兑换过"),
    "RECEIVED": ("received", "收到过"),
}
_FIELDS = {"brand": "品牌", "category": "类目", "attributes": "款式", "title": "标题", "description": "描述"}


def language_of(name: str) -> Language:
    """The language to tell people of something called so: Chinese where it holds Han letters and no kana."""
    found = scripts(name)
    return "zh" if "h" in found and "k" not in found else "en"


def spoken(name: str, place: str) -> Language:
    """The language of that name.

    Raises:
        InputError: it is none that people are told things in.
    """
    for language in get_args(Language):
        if name == language:
            return cast("Language", language)
    raise InputError(f"{name!r} is not one of: {', '.join(get_args(Language))}", where=place)


def say(message: str, language: Language, **values: object) -> str:
    """A message with its values.

    Args:
        message: its name.
        language: in which it is wanted.
        values: what it names, as people know it.
    """
    return _SAID[message][language].format(**values)


def field_name(name: str, language: Language) -> str:
    """What a shared field is called; as it is where no other name is known."""
    name = name.replace("_", " ")
    return _FIELDS.get(name.lower(), name) if language == "zh" else name


def event_name(event: str, language: Language) -> str:
    """What a user did, as a verb; of a schema's own event its name."""
    english, chinese = _EVENTS.get(event, (event.replace("_", " ").lower(),) * 2)
    return chinese if language == "zh" else english
