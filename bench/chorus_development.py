"""Queries of our own with rules for titles: search's settings were chosen here, not on the judged queries.

None of them is among the judged queries, and the rules are crude: a title answers a query where the first
pattern matches and the second does not. `python bench/chorus_development.py --data FOLDER` prints the
table, with `--students` that of the students too.
"""

from __future__ import annotations

import argparse
import re
import tempfile
from pathlib import Path

import numpy as np
import torch

from bench.suites.data import data_folder
from bench.suites.search import search_task
from bench.suites.search_teaching import TextTeaching, teach
from bench.suites.spec import SearchSuite, load_suite
from kgdistill.config import SearchConfig, SearchTransformerConfig
from kgdistill.models.text.transformer import TransformerText
from kgdistill.models.text_teacher import TextTeacher
from kgdistill.ranking.fusion import SERVING, WHOLE, Fusion, fuse
from kgdistill.ranking.topk import top_k
from kgdistill.run.text_match import encode_catalogue, start_student
from kgdistill.tasks.lexical import lexical_index
from kgdistill.tasks.search_catalogue import SearchCatalogue
from kgdistill.train.loop import Context
from kgdistill.train.text_match import train_token_table, train_transformer

POOL = 40

RULES = {
    "printer": (
        r"\b(inkjet|laser|label|photo|dot matrix|thermal|large format|multifunctional?|mono|colour|"
        r"color)\b.*\bprinter\b|\blaserjet\b.*\bdpi\b|\bprinter\b.*\b(dpi|ppm)\b",
        r"cartridge|cable|\bkit\b|toner|paper|spare|ribbon|drum|roller|print head|server|memory",
    ),
    "toner": (r"\btoner\b", r"collector|waste|kit\b|laser.*dpi"),
    "ink cartridges": (r"\bink cartridge\b|\bink\b.*original|\bink cartridge", r"printer.*dpi"),
    "network cable": (r"networking cable|cat ?[56]\w?\b.*(patch|cable)|patch cable", r"panel|tester|printer"),
    "ethernet cable": (
        r"networking cable|cat ?[56]\w?\b.*(patch|cable)|patch cable",
        r"panel|tester|fib(er|re)|coax|\blc\b|\bsc\b",
    ),
    "vga cable": (r"\bvga\b.*cable|cable.*\bvga\b|monitor cable.*hd15|hd15.*cable", r"adapter|kvm|splitter"),
    "printer cable": (r"printer cable|parallel.*cable|usb.*a.?/?b cable|ieee.?1284.*cable", r"cartridge"),
    "router": (r"\brouter\b", r"cable|antenna|bracket|mount"),
    "motherboard": (r"motherboard|desktop board|server/workstation board", r"cable|memory"),
    "graphics card": (
        r"graphics card|geforce.*gddr|radeon.*gddr|quadro.*gddr",
        r"notebook|\bpc\b|windows|workstation|gb ssd",
    ),
    "processor": (
        r"processor \d|\bprocessor\b.*ghz|\bxeon\b.*ghz.*cache",
        r"notebook|windows|hdd|ssd|server|cooler|fan|kit|pixels",
    ),
    "ram": (
        r"memory module|\bdimm\b|\bddr\d?\b.*(dimm|mhz).*|sdram",
        r"notebook|windows|processor|motherboard|lga|graphics|pixels|gddr|server",
    ),
    "ups": (r"uninterruptible|\bups\b", r"battery (?!backup)|cable|bracket|rack accessory|kit"),
    "webcam": (r"\bwebcam\b", r"notebook|pixels touchscreen|windows"),
    "microphone": (r"microphone", r"cable|headset|headphone"),
    "headset": (r"headset", r"cable|adapter|ear pad|cushion"),
    "label printer": (r"label printer|labelwriter|label maker", r"tape|labels|ribbon|cable"),
    "photo paper": (r"photo paper", r"printer"),
    "printing paper": (
        r"printing paper|inkjet paper|photo paper|copy paper|large format media|plotter paper",
        r"printer.*dpi|tray",
    ),
    "projector lamp": (r"projector lamp|lamp.*projector", r""),
    "usb flash drive": (r"usb flash drive|flash drive", r"notebook|windows"),
    "graphics tablet pen": (r"(stylus|\bpen\b)", r"notebook|windows|pixels"),
    "privacy screen": (r"privacy (screen|filter)", r"notebook.*windows"),
    "kvm": (r"\bkvm\b", r"cable|rack accessory|mount"),
    "kvm switch": (r"kvm switch", r"cable"),
    "server": (
        r"\bserver\b",
        r"cable|board|memory|processor|rack accessory|kit|battery|module|mount|card|drive|cabinet|"
        r"hdd|psu|supply|print server|console",
    ),
    "patch panel": (r"patch panel", r"cable"),
    "surge protector": (r"surge (protector|suppressor)|surge.*outlet", r""),
    "power strip": (
        r"power (strip|extension)|surge.*outlet|outlet.*(strip|surge)|power distribution unit",
        r"",
    ),
    "power supply": (r"power supply unit|power supply", r"cable|\bups\b"),
    "computer case": (r"computer case", r""),
    "antenna": (r"antenna", r"router|cable|access point|pixels"),
    "media converter": (r"media converter", r"chassis|supply"),
    "access point": (r"access point", r"antenna|mount|bracket|licen"),
    "nas": (r"\bnas\b", r"hdd kit|bracket"),
    "doll": (r"\bdoll\b|barbie|baby born", r"clothes|dress|shoes|bag|hair styling|accessor"),
    "puzzle": (r"puzzle", r""),
    "coffee maker": (r"coffee maker|coffee machine|espresso machine", r"filter|capsule|cup"),
    "vacuum cleaner": (r"vacuum", r"bag|filter|brush head"),
    "toothbrush": (r"toothbrush", r"head(s)?\b"),
    "hair dryer": (r"hair dryer", r""),
    "security camera": (r"(ip|security|surveillance|cctv) (security )?camera", r"mount|bracket|cable|supply"),
    "screen protector": (r"screen protector", r""),
    "wall mount": (r"wall mount|wandmont", r""),
    "monitor arm": (r"(monitor|flat panel|desk).*(arm|mount)\b", r"wall mount"),
    "cat6 cable": (r"cat ?6\w?\b", r"panel|coupler|jack|cat ?5"),
    "hp toner": (r"^(hp|hewlett).*(toner)", r"collection|kit\b"),
    "canon ink": (r"^canon.*(ink|original)", r"toner|printer.*dpi|paper|drum"),
    "dell laptop battery": (
        r"^(dell|origin storage|2-power).*(battery|notebook spare part battery).*",
        r"ups|cable",
    ),
    "dvi cable": (r"dvi.*cable|cable.*dvi", r"adapter|kvm"),
    "cpu cooler": (r"(cpu|processor).*(cooler|fan|cooling)|processor cooler", r"thermal paste"),
    "black toner cartridge": (r"toner.*black|black.*toner", r"collector"),
    "red network cable": (
        r"(networking cable|patch cable).*\bred\b|\bred\b.*(networking cable|patch cable)",
        r"",
    ),
    "xeon processor": (r"xeon.*(processor|ghz|cache)", r"server .*rack|kit|tower"),
    "inkjet printer": (r"inkjet printer|inkjet.*dpi", r"cartridge|paper|media"),
    "all in one pc": (r"all-in-one pc|all-in-one.*(pixels|windows)", r"print|mount"),
    "mobile phone": (
        r"smartphone|mobile phone|galaxy s\d|galaxy a\d|moto g",
        r"case|cover|charger|cable|holder|headset|mount|protector|stand|sleeve",
    ),
    "remote control": (r"remote control", r"helicopter|car\b"),
    "thermal paste": (r"thermal (paste|compound|grease)|heat sink compound", r""),
    "sound card": (r"sound card|audio card|sound blaster", r""),
    "raid controller": (r"raid controller|raid.*controller", r"battery|cable"),
    "hard drive enclosure": (r"(hdd|hard drive|drive|storage).*(enclosure)|storage drive enclosure", r""),
    "card reader": (r"card reader", r"notebook|windows|pixels"),
}


def relevant(titles: list[str], rules: dict[str, tuple[str, str]] = RULES) -> list[np.ndarray]:
    """For each query the products whose titles answer it."""
    out = []
    for wanted, not_wanted in rules.values():
        yes, no = re.compile(wanted), re.compile(not_wanted) if not_wanted else None
        fits = [bool(yes.search(t)) and not (no and no.search(t)) for t in titles]
        out.append(np.flatnonzero(fits))
    return out


def firsts(scores: np.ndarray, limit: int) -> np.ndarray:
    return top_k(np.asarray(scores, np.float32), np.arange(scores.shape[1]), limit)[0]


def measure(scores: np.ndarray, answers: list[np.ndarray], pools: np.ndarray) -> tuple[float, float, float]:
    """Mean nDCG@10 (binary), recall@50, and nDCG@10 where only a query's pool is ranked."""
    discount = 1 / np.log2(np.arange(2, 12))
    ndcg, recall, rerank = [], [], []
    for row, values, right, pool in zip(firsts(scores, 50), scores, answers, pools, strict=True):
        hit = np.isin(row, right)
        ndcg.append((hit[:10] * discount).sum() / discount[: min(10, len(right))].sum())
        recall.append(hit.sum() / min(50, len(right)))
        given = np.sort(pool)
        if there := int(np.isin(given, right).sum()):
            first = given[np.argsort(-values[given], kind="stable")[:10]]
            rerank.append((np.isin(first, right) * discount).sum() / discount[: min(10, there)].sum())
    return float(np.mean(ndcg)), float(np.mean(recall)), float(np.mean(rerank))


def catalogue_of(data: Path | None) -> SearchCatalogue:
    with tempfile.TemporaryDirectory() as place:
        suite = load_suite("chorus")
        assert isinstance(suite, SearchSuite)
        return search_task(suite, data_folder(suite.data, data), Path(place) / "snapshot").catalogue


def students_of(
    teaching: TextTeaching, encoder: TransformerText, queries: list[str]
) -> dict[str, np.ndarray]:
    """Cosines of one static and one transformer student, seed 0."""
    config = SearchConfig()
    start = start_student(teaching.lessons, teaching.vectors, encoder, config.dim)
    context = Context(torch.device("cpu"), seed=0)
    static = train_token_table(*start, teaching.lessons, config, context)
    transformer = train_transformer(encoder, teaching.lessons, SearchTransformerConfig(), context)
    print(f"seconds of training: static {static.seconds:.0f}, transformer {transformer.seconds:.0f}")
    return {
        "student (static)": static.model.encode(queries) @ static.model.items(teaching.catalogue).T,
        "student (transformer)": transformer.model.encode(queries)
        @ transformer.model.encode(teaching.catalogue.titles).T,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--students", action="store_true", help="train the students too (some minutes)")
    given = parser.parse_args()
    catalogue = catalogue_of(given.data)
    queries = list(RULES)
    answers = relevant([title.lower() for title in catalogue.titles])
    encoder = TransformerText(precision="float32")
    if given.students:
        teaching = teach(catalogue, encoder)
        teacher, vectors = teaching.teacher, teaching.vectors
    else:
        vectors = encode_catalogue(catalogue, encoder)
        teacher = TextTeacher(catalogue, lexical_index(catalogue.fields), encoder, vectors.items)
    asked = encoder.encode(queries)
    parts = teacher.parts(queries, asked)
    # As people judge what a shop shows: of what words find, which comes first.
    plain = {name: parts[name] for name in ("words", "coverage")}
    words = fuse(plain, WHOLE)
    pools = firsts(words, POOL)
    tried = {"words": words, "meaning, title": asked @ vectors.fields[0].T, "meaning": parts["near"]}
    if given.students:
        for name, cosines in students_of(teaching, encoder, queries).items():
            tried[name] = cosines
            tried[f"{name} + words"] = fuse({**plain, "near": cosines}, SERVING)
    for meaning in (0.3, 0.5, 0.7):
        for coverage in (0.0, 0.5, 1.0):
            tried[f"meaning {meaning}, coverage {coverage}"] = fuse(parts, Fusion(meaning, coverage))
    for facts in (0.0, 0.1, 0.2, 0.4):
        tried[f"facts {facts}"] = fuse(parts, Fusion(facts=facts))
    for depth in (50, 100, 200):
        tried[f"depth {depth}"] = fuse(parts, Fusion(depth=depth))
    print(f"{len(queries)} queries of our own; nDCG@10, recall@50, nDCG@10 within the first {POOL} by words")
    for name, scores in tried.items():
        print(f"{name:32} " + " ".join(f"{value:.4f}" for value in measure(scores, answers, pools)))


if __name__ == "__main__":
    main()
