"""docs/profiles.md, followed word by word."""

from __future__ import annotations

import re
from pathlib import Path

from _followed import followed


def test_the_page_keeps_what_it_promises(tmp_path: Path) -> None:
    told, written, aimed, python, _, zh = followed("profiles.md", tmp_path, "data")
    assert "macro-F1" in told or "macro_f1" in told
    assert re.search(r"kids: (some|none) \(0\.\d\d\); by ", told)
    assert "kids is sensitive: it is not written back" in written
    assert "refused, as it should be" in written
    assert "classes of kids" in written
    assert aimed.count("refused, as it should be") == 1
    assert "kids is sensitive: nobody is chosen by it, known or predicted" in aimed
    assert "kids is sensitive, and was allowed to choose" in aimed
    assert "expected of 5:" in aimed
    assert "kids_count is sensitive" in python
    assert "[{'left': 0}]" in python
    assert re.search(r"brand +月岚 +searched for +3 ", zh)
    assert "搜索过7个不同的词，品牌比别人更多的是月岚 (17.7×)" in zh
    assert "searched for 2 things, last" in zh
