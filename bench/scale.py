"""Measures what training costs as a shop grows, on shops drawn at random, and how the cost grows.

    python bench/scale.py                       2,500 users, 5,000 items and 10,000 users, 20,000 items
    python bench/scale.py --shops 10000 40000   shops by their users; items are twice as many up to 20,000
                                                users, then half as many again, events 50 each
    python bench/scale.py --encoder 12000 80000 the graph encoder alone, one fold: memory and seconds
    python bench/scale.py --quality             how near approximations come to what they stand for

Writes bench/results/scale.json: of each part the CPU seconds, the seconds and the most memory, and, of two
shops or more, the exponent by which the CPU seconds grow with the events. What people buy follows a few kinds
of items each, kinds and items by a power law, so that there is something to learn; nothing is known of a
hundredth of the items but their text and brand.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

os.environ.setdefault("OMP_NUM_THREADS", "2")

import numpy as np
import pyarrow as pa
import scipy.sparse as sp
import torch

from kgdistill.arrays import IntArray
from kgdistill.config import StudentConfig, TeacherConfig
from kgdistill.evaluate.baselines import ease
from kgdistill.evaluate.judge import evaluate_arm
from kgdistill.models.scorer import Scorer
from kgdistill.models.terms.linear import LinearRows
from kgdistill.models.terms.walk import fit_walk
from kgdistill.models.text.tokens import Tokens
from kgdistill.tasks.item_groups import ItemGroups, conjunction
from kgdistill.tasks.match import MatchTask, SplitPairs
from kgdistill.tasks.protocol import DiscoveryProtocol
from kgdistill.tasks.training_data import TrainingData
from kgdistill.train.choose import choose_linear, item_weights, neighbour_weights, sides_of
from kgdistill.train.fusion import fit_fusion, fusion_graph
from kgdistill.train.loop import Context
from kgdistill.train.student import StudentInputs, student_scorer, train_student
from kgdistill.train.targets import make_targets
from kgdistill.train.teacher import TeacherInputs, teacher_scorer, train_teacher

RESULTS = Path(__file__).parent / "results" / "scale.json"
_CPU = torch.device("cpu")
_DAY_US = 86_400_000_000
_START = datetime(2024, 1, 1)
_CUT, _TEST, _END = 320, 345, 365
_Made = TypeVar("_Made")


@dataclass(frozen=True)
class Shop:
    """A shop drawn at random: what training reads of it, and what judges it."""

    data: TrainingData
    task: MatchTask
    groups: list[ItemGroups]
    tokens: Tokens


def drawn_shop(users: int, items: int, events: int, *, seed: int = 0) -> Shop:
    """A shop of so many users, items and events (first purchases of a pair; about as many remain)."""
    draw = np.random.default_rng(seed)
    kinds = max(8, items // 60)
    kind = np.minimum((kinds * draw.random(items) ** 1.7).astype(np.int64), kinds - 1)
    weight = 1.0 / (1 + draw.permutation(items)) ** 0.7
    weight[draw.permutation(items)[: items // 100]] = 0
    lengths = np.minimum(5 + draw.pareto(1.3, users) * 0.23 * events / users, 0.05 * items).astype(np.int64)
    lengths = np.maximum((lengths * events / lengths.sum()).astype(np.int64), 3)
    user = np.repeat(np.arange(users), lengths)
    taste = draw.integers(0, kinds, (users, 4))
    wanted = taste[user, draw.integers(0, 4, len(user))]
    # A third is bought by popularity, the rest by popularity within a kind.
    item = draw.choice(items, len(user), p=weight / weight.sum())
    order = np.argsort(kind, kind="stable")
    total = np.concatenate([[0.0], np.cumsum(weight[order])])
    starts = np.searchsorted(kind[order], np.arange(kinds + 1))
    low, high = total[starts[wanted]], total[starts[wanted + 1]]
    place = np.searchsorted(total, low + draw.random(len(user)) * (high - low), side="right") - 1
    ours = draw.random(len(user)) < 0.67
    item[ours] = order[np.minimum(place[ours], items - 1)]
    at = (draw.random(len(user)) * _END * _DAY_US).astype(np.int64)
    codes, first = np.unique(user * items + item, return_index=True)
    return _shop(codes, at[first], kind, (users, items), draw)


def _shop(codes: IntArray, at: IntArray, kind: IntArray, shape: tuple[int, int], draw: Any) -> Shop:
    start = int(np.datetime64(_START, "us").astype(np.int64))
    splits = [(0, _CUT), (_CUT, _TEST), (_TEST, _END + 1)]
    parts = [codes[(at >= low * _DAY_US) & (at < high * _DAY_US)] for low, high in splits]
    known = at < _TEST * _DAY_US
    moments = sp.csr_array((start + at[known], np.divmod(codes[known], shape[1])), shape=shape)
    train, validation, test = (
        sp.csr_array((np.ones(len(p), np.float32), np.divmod(p, shape[1])), shape=shape) for p in parts
    )
    protocol = DiscoveryProtocol(
        name="scale", title="a shop drawn at random", cut=_START + timedelta(days=_CUT),
        test_start=_START + timedelta(days=_TEST), min_item_users=5, settings=("all", "cold"),
    )  # fmt: skip
    users = np.flatnonzero(np.diff(train.indptr) >= 3)
    keys = [pa.array([str(i) for i in range(count)]) for count in shape]
    pairs = SplitPairs(train=train, validation=validation, test=test, times=moments)
    task = MatchTask(
        protocol, pairs, users=users, items=np.arange(shape[1]), user_keys=keys[0], item_keys=keys[1]
    )
    before = sp.csr_matrix(train)
    before.sort_indices()
    times = sp.csr_matrix(moments)[:, :].multiply(before > 0).tocsr().astype(np.int64)
    times.sort_indices()
    brand = draw.integers(0, max(4, shape[1] // 80), shape[1])
    families = [_groups("IN_CATEGORY", kind), _groups("MADE_BY", brand)]
    axes = draw.normal(size=(kind.max() + 1, 48))
    text = (axes[kind] + 0.5 * draw.normal(size=(shape[1], 48))).astype(np.float32)
    words = [[int(k), int(kind.max()) + 1 + int(b)] for k, b in zip(kind, brand, strict=True)]
    tokens = Tokens.of(words, int(kind.max()) + 2 + int(brand.max()))
    data = TrainingData(
        purchases=before, times=times, cut_us=start + _CUT * _DAY_US, users=users, items=np.arange(shape[1]),
        text_rows=np.arange(shape[1]), text=text, min_count=5, select_us=start + _CUT * _DAY_US,
        label="Product", pools=("all", "cold"), words=tokens.weighted(np.arange(shape[1])),
    )  # fmt: skip
    return Shop(data, task, [*families, conjunction(*families)], tokens)


def _groups(name: str, codes: IntArray) -> ItemGroups:
    ones = np.ones(len(codes), np.float32)
    return ItemGroups(name, sp.csr_matrix((ones, (np.arange(len(codes)), codes))))


class Clock:
    """Measures parts one after another."""

    def __init__(self) -> None:
        self.parts: dict[str, dict[str, float]] = {}

    def __call__(self, name: str, make: Callable[[], _Made]) -> _Made:
        """What `make` gives; how long it took and the most memory that was in use meanwhile are kept."""
        Path("/proc/self/clear_refs").write_text("5")  # the kernel's mark of the most memory starts anew
        began, cpu = time.perf_counter(), time.process_time()
        made = make()
        status = Path("/proc/self/status").read_text()
        peak = next(int(row.split()[1]) for row in status.splitlines() if row.startswith("VmHWM"))
        taken = {"cpu_seconds": time.process_time() - cpu, "seconds": time.perf_counter() - began}
        self.parts[name] = {**{k: round(v, 2) for k, v in taken.items()}, "peak_mb": round(peak / 1024)}
        print(f"  {name:28s} {json.dumps(self.parts[name])}", flush=True)
        return made


def measured(users: int, items: int, events: int, epochs: int) -> dict[str, Any]:
    """Every part of training over one shop, and how good its models are."""
    clock = Clock()
    shop = clock("drawing the shop", lambda: drawn_shop(users, items, events))
    data, task, groups = shop.data, shop.task, shop.groups
    size = {"users": len(data.users), "items": items, "events": int(data.purchases.nnz)}
    print(f"{size['users']:,} users, {items:,} items, {size['events']:,} events before the cut", flush=True)
    sides = sides_of(data, groups)
    choice = clock("choosing", lambda: choose_linear(data, sides, task.validation))
    choice = type(choice)(**{**choice.settings(), "walk": 5})
    view = data.view()
    weights = clock("closed forms", lambda: item_weights(view, sides, choice))
    clock("tables of neighbours", lambda: neighbour_weights(view, sides, choice, 150))

    def validate(scorer: Scorer) -> dict[str, float]:
        judged = evaluate_arm(
            scorer, task, arm="v", title="v", split="validation", progress=False, settings=["all", "cold"]
        )
        return {f"{setting}_ndcg": judged.mean(setting) for setting in judged.settings}

    context = Context(_CPU, 0)
    asked = TeacherInputs(data, groups, linear=choice)
    settings = TeacherConfig(epochs=epochs, evaluate_every=epochs)
    teacher = clock("teacher", lambda: train_teacher(asked, settings, context, validate))
    scorer = teacher_scorer(teacher, data, view, _CPU)
    targets = clock("targets", lambda: make_targets(scorer, data, top=150, random=50, seed=0))
    given = StudentInputs(data, groups, shop.tokens, 48, 0.1, choice, sides)
    small = StudentConfig(epochs=epochs, evaluate_every=epochs)
    student = clock("student", lambda: train_student(given, lambda until: targets, small, context, validate))
    pupil = student_scorer(student, data, shop.tokens, view, _CPU)
    task.open_test()
    arms = {"ease": ease(task), "teacher": scorer, "student": pupil}
    quality = {}
    for name, arm in arms.items():
        result = clock(f"judging: {name}", lambda arm=arm: evaluate_arm(  # type: ignore[misc]
            arm, task, arm="x", title="x", settings=["all"], progress=False,
        ))  # fmt: skip
        quality[name] = round(result.mean("all"), 4)
    print(f"  NDCG@20 over all items: {quality}", flush=True)
    del weights
    return {**size, "parts": clock.parts, "ndcg@20": quality}


def encoder_of(users: int, items: int, events: int) -> dict[str, Any]:
    """One fold of training the graph encoder over one shop, its start and at most nine steps."""
    clock = Clock()
    shop = clock("drawing the shop", lambda: drawn_shop(users, items, events))
    view, settings, context = shop.data.view(), TeacherConfig(graph_steps=1), Context(_CPU, 0)
    graph = clock("edges", lambda: fusion_graph(
        shop.data, view, shop.groups, settings, use_graph=True, device=_CPU
    ))  # fmt: skip
    clock("one fold", lambda: fit_fusion(shop.data, graph, settings, context, title="encoder"))
    size = {"users": len(shop.data.users), "items": items, "events": int(view.purchases.nnz)}
    return {**size, "parts": clock.parts}


def exponents(shops: list[dict[str, Any]]) -> dict[str, float]:
    """By which power of the events the CPU seconds of each part grow, from the first shop to the last."""
    first, last = shops[0], shops[-1]
    ratio = math.log(last["events"] / first["events"])
    return {
        name: round(math.log(part["cpu_seconds"] / max(first["parts"][name]["cpu_seconds"], 0.01)) / ratio, 2)
        for name, part in last["parts"].items()
        if part["cpu_seconds"] > 0.1 and name in first["parts"]
    }


def quality_of_approximations(users: int, items: int, events: int) -> dict[str, float]:
    """NDCG@20 over all items on the validation events, of closed forms and of what stands for them."""
    shop = drawn_shop(users, items, events)
    view, sides = shop.data.view(), sides_of(shop.data, shop.groups)
    asked = shop.data.users[:1000]
    out = {}

    def judge(name: str, model: Any) -> None:
        def score(users: IntArray, candidates: IntArray) -> Any:
            return model.score(view.queries(users, 0.0), candidates).numpy()

        task = MatchTask(
            shop.task.protocol, SplitPairs(shop.task.train, shop.task.validation, shop.task.validation,
            shop.task._times), users=asked, items=shop.task.items, user_keys=shop.task.user_keys,
            item_keys=shop.task.item_keys,
        )  # fmt: skip
        result = evaluate_arm(
            score, task, arm=name, title=name, split="validation", settings=["all"], progress=False
        )
        out[name] = round(result.mean("all"), 4)
        print(f"  {name:40s} {out[name]}", flush=True)

    for weight in (0.0, 3.0):
        for limit in (10**6, 100):
            rows = LinearRows(view.purchases, sides, side_weight=weight, limit=limit)
            for reg in (100.0, 300.0, 1000.0):
                judge(
                    f"linear, λ {reg:g}, sides {weight:g}, {'exact' if limit > 100 else 'low'}", rows.fit(reg)
                )
    for steps in (1, 3, 5):
        for limit in (10**6, 100):
            walk = fit_walk(view.purchases, sides, steps=steps, limit=limit)
            judge(f"walk, {steps} steps, {'exact' if limit > 100 else 'low'}", walk)
    return out


def main() -> None:
    """Reads the command line, measures, writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--shops", type=int, nargs="+", default=[2500, 10_000], help="users of each shop")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--encoder", type=int, nargs="+", default=[], help="users of each shop")
    parser.add_argument("--quality", action="store_true")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    if options.quality:
        quality_of_approximations(5000, 4000, 150_000)
        return

    def sizes(users: int) -> tuple[int, int, int]:
        return users, 2 * users if users <= 20_000 else users + users // 2, 50 * users

    held = json.loads(options.out.read_text(encoding="utf-8")) if options.out.is_file() else {}
    if options.encoder:
        shops = [encoder_of(*sizes(users)) for users in options.encoder]
        held["encoder"] = {"threads": torch.get_num_threads(), "shops": shops}
        options.out.write_text(json.dumps(held, indent=2) + "\n", encoding="utf-8")
        return
    shops = [measured(*sizes(users), options.epochs) for users in options.shops]
    document = {"threads": torch.get_num_threads(), "epochs": options.epochs, "shops": shops}
    document |= {"encoder": held["encoder"]} if "encoder" in held else {}
    if len(shops) > 1:
        document["exponents"] = exponents(shops)
        print("grows with the events to the power of", document["exponents"])
    options.out.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
