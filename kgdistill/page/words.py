"""What the page itself says, in English and in Chinese; what the data say stays as it is."""

from __future__ import annotations

from starlette.requests import Request

from kgdistill.wording import Language

_SAID = {
    "about_me": ("Graph of products, users and what is recommended", "商品、用户与推荐结果图谱"),
    "also": ("More questions", "更多问题"),
    "answer": ("Answer", "结果"),
    "ask": ("Ask", "查询"),
    "bundle_says": ("What the bundle answers now", "当前模型的回答"),
    "bundle_without": ("None of the bundle's products has these words.", "模型所知的商品中没有含这些词的。"),
    "columns_none": ("No rows.", "没有结果。"),
    "compare": ("Compare runs", "对比运行"),
    "counting": ("Counting …", "正在统计……"),
    "download": ("Download", "下载"),
    "everything": ("All of it", "查看全部"),
    "error": ("That did not work", "出错了"),
    "expand": ("Expand", "展开"),
    "falls_by": ("score falls by", "得分下降"),
    "facts": ("Facts", "基本信息"),
    "find": ("Find", "搜索"),
    "fit": ("Fit to the window", "适应窗口"),
    "graph_holds": ("What the graph holds", "图谱内容"),
    "hide": ("Hide", "隐藏"),
    "home": ("Start", "首页"),
    "keep": ("Keep as a file", "保存"),
    "known": ("bought before", "买过"),
    "neighbourhood": ("Neighbourhood", "邻域"),
    "never": ("recommended to nobody", "未推荐给任何人"),
    "new": ("new product", "新品"),
    "next": ("Next", "下一页"),
    "node": ("Node", "节点"),
    "nobody": (
        "Nothing was written back yet: kgdistill writeback --run RUN",
        "尚未写回推荐结果：kgdistill writeback --run RUN",
    ),
    "nothing_found": ("Nothing was found.", "没有找到。"),
    "on_screen": ("On screen", "当前显示"),
    "other_run": ("Other run", "另一次运行"),
    "path": ("The paths", "路径"),
    "per_user": ("For each at most", "每个最多"),
    "queries": ("Questions", "常用问题"),
    "questions_hint": (
        "Saved questions with a form each; nothing is written by them.",
        "预存问题，填表即可查询，不会修改数据。",
    ),
    "rank_without": ("rank without it", "没有它时的名次"),
    "recommended": ("Recommended", "推荐"),
    "recommended_by": ("Recommended by", "推荐来源"),
    "relationship": ("Relationship", "关系"),
    "rests_on": ("What the score rests on", "得分所依据的商品"),
    "rows": ("rows", "行"),
    "run": ("Run", "运行"),
    "runs": ("Runs", "运行"),
    "search": ("Name or id", "名称或编号"),
    "share": ("share", "占比"),
    "shares": ("Shares of the score", "得分构成"),
    "shares_about": (
        "Of all that speaks for it; what says nothing of it, or speaks against it, is left out.",
        "各项在支持推荐的得分中所占的比例；未起作用或不支持推荐的不列出。",
    ),
    "sign_in": ("Sign in", "登录"),
    "skip": ("Skip to the content", "跳到正文"),
    "show": ("Show", "显示"),
    "student_says": ("What the model says", "模型的解释"),
    "taste": ("Taste", "偏好"),
    "times": ("times", "时间所在时区"),
    "to_users": ("to {n} users", "推荐给{n}位用户"),
    "token": ("The token that was printed when the page started", "启动时显示的令牌"),
    "top_n": ("Everything that this run wrote", "该次运行写入的全部结果"),
    "type": ("Type", "类型"),
    "why": ("Why?", "为什么？"),
    "why_title": ("Why {item} for {user}", "为什么向{user}推荐{item}"),
}


LANGUAGE = "kgdistill_language"
"""The cookie that keeps the language that a reader chose."""


def chosen_language(request: Request) -> Language | None:
    """The language that an address asks for, or that the reader chose before; None: neither."""
    for asked in (request.query_params.get("lang"), request.cookies.get(LANGUAGE)):
        if asked in ("en", "zh"):
            return "zh" if asked == "zh" else "en"
    return None


def language_of_reader(request: Request) -> Language:
    """The language that was chosen, or that the browser asks for; English where it is none of ours."""
    first = request.headers.get("accept-language", "").split(",")[0].strip().lower()
    return chosen_language(request) or ("zh" if first.startswith("zh") else "en")


def page_words(language: Language) -> dict[str, str]:
    """Everything that the page says, by name."""
    place = 1 if language == "zh" else 0
    return {name: said[place] for name, said in _SAID.items()}
