"""Checks and measures training on one GPU, on a shop and texts drawn from a seed: no store, hub or weights.

    python bench/gpu.py                      on the GPU, in less than 8 minutes; where there is none, as below
    python bench/gpu.py --device cpu         everything small, the CPU against the CPU, in less than a minute
    python bench/gpu.py --small              as small, on the GPU

It runs where the package lies on the path, beside torch, torch-geometric, transformers, NumPy, SciPy, PyArrow
and pydantic.

Checked: every tensor of the trainings (weights, buffers, what the lessons hold, Adam's moments), of the
scorers (vectors, terms) and of the text encoder is on the device; the losses of the first steps in
float32, without dropout, are the CPU's within 1e-3; the text vectors are the CPU's; the best items picked on
the device are those that NumPy picks of the same scores; no step goes through NumPy or from one device to
another. One check that fails makes the exit status 1.

Measured: seconds of teacher, of its vectors among them, targets and student at three sizes on the device and
on the CPU, trainings until their last step; judging with the best picked on the device and by NumPy; texts a
second by a BERT of MiniLM's shape; the most memory on the device. At the largest size the CPU takes 20 steps,
and the rest is reckoned from them; it is left out where four minutes are over. What float32 costs and brings
is measured at the middle size.

Prints tables. Writes bench/results/gpu.json, on the CPU only what --out names.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

os.environ.setdefault("OMP_NUM_THREADS", str(len(os.sched_getaffinity(0))))

import numpy as np
import torch
from _watch import Crossings, EnoughError, Places, Watch
from scale import Shop, drawn_shop

from kgdistill.arrays import FloatArray, IntArray
from kgdistill.config import StudentConfig, TeacherConfig
from kgdistill.evaluate.judge import evaluate_arm
from kgdistill.models import topk
from kgdistill.models.device import choose_device, full_precision
from kgdistill.models.scorer import Scorer
from kgdistill.models.text.transformer import PooledText, Precision
from kgdistill.ranking.topk import top_k
from kgdistill.train.choose import LinearChoice, sides_of
from kgdistill.train.loop import Context
from kgdistill.train.student import StudentInputs, student_scorer, train_student
from kgdistill.train.targets import Targets, make_targets
from kgdistill.train.teacher import TeacherInputs, teacher_scorer, train_teacher

RESULTS = Path(__file__).parent / "results" / "gpu.json"
CPU = torch.device("cpu")
SIZES = [(1000, 2000), (4000, 6000), (10_000, 20_000)]
SMALL = [(80, 120), (120, 200), (160, 300)]
"""Users and items of each shop; events are 50 for each user."""
_STEPS, _FEW_STEPS, _WITHIN, _CPU_STEPS, _LATEST_S = 8, 40, 1e-3, 20, 240
_TITLES, _VECTORS = ("teacher", "student"), "teacher: its vectors"
_LINEAR = LinearChoice(walk=5)
_Made = TypeVar("_Made")


# The trainings: the one place that calls them ---------------------------------------------------------------


@dataclass(frozen=True)
class Pace:
    """How long trainings are.

    Attributes:
        epochs, batch, dropout: of both models.
        graph_steps: of the teacher's vectors.
    """

    epochs: int = 2
    batch: int = 256
    dropout: float = 0.1
    graph_steps: int = TeacherConfig().graph_steps

    def teacher(self) -> TeacherConfig:
        """The teacher's settings."""
        return TeacherConfig(
            epochs=self.epochs, batch=self.batch, evaluate_every=self.epochs, z_dropout=self.dropout,
            graph_steps=self.graph_steps,
        )  # fmt: skip

    def student(self) -> StudentConfig:
        """The student's settings."""
        return StudentConfig(
            epochs=self.epochs, batch=self.batch, evaluate_every=self.epochs, id_dropout=self.dropout
        )


@dataclass
class Lab:
    """A shop on a device. It has a shop of its own: what was fitted on one device stays with its views.

    Attributes:
        size: users and items.
        device: where everything should be.
        watch: notes the steps.
        pace: how long trainings are.
    """

    size: tuple[int, int]
    device: torch.device
    watch: Watch
    pace: Pace = field(default_factory=Pace)

    def __post_init__(self) -> None:
        users, items = self.size
        self.shop: Shop = drawn_shop(users, items, 50 * users)
        self.context = Context(self.device, 0, self.watch)

    def validate(self, scorer: Scorer) -> dict[str, float]:
        """NDCG of a few users."""
        judged = evaluate_arm(
            scorer, self.shop.task.thinned(200), arm="v", title="v", split="validation", progress=False,
            settings=["all", "cold"],
        )  # fmt: skip
        return {f"{setting}_ndcg": judged.mean(setting) for setting in judged.settings}

    def teacher(self) -> Scorer | None:
        """A trained teacher over everything known; None where it was ended early."""
        shop, watch = self.shop, self.watch
        inputs = TeacherInputs(shop.data, shop.groups, linear=_LINEAR)
        watch.start()
        try:
            trained = train_teacher(inputs, self.pace.teacher(), self.context, self.validate, title="teacher")
        except EnoughError:
            return None
        scorer = teacher_scorer(trained, shop.data, shop.data.view(), self.device)
        watch.places.look(scorer, "the teacher's scorer")
        return scorer

    def targets(self, teacher: Scorer) -> Targets:
        """What the teacher hands down."""
        settings = self.pace.student()
        return make_targets(teacher, self.shop.data, top=settings.candidates, random=settings.random, seed=0)

    def student(self, targets: Targets) -> Scorer | None:
        """A trained student over everything known; None where it was ended early."""
        shop, watch = self.shop, self.watch
        sides = sides_of(shop.data, shop.groups)
        inputs = StudentInputs(
            shop.data, shop.groups, shop.tokens, targets.relational.shape[1], 0.1, _LINEAR, sides
        )
        watch.start()
        try:
            trained = train_student(
                inputs, lambda until: targets, self.pace.student(), self.context, self.validate,
                title="student",
            )  # fmt: skip
        except EnoughError:
            return None
        scorer = student_scorer(trained, shop.data, shop.tokens, shop.data.view(), self.device)
        watch.places.look(scorer, "the student's scorer")
        return scorer

    def ndcg(self, scorer: Callable[[IntArray, IntArray], FloatArray]) -> float:
        """NDCG@20 over all items, of every user with a validation event."""
        judged = evaluate_arm(
            scorer, self.shop.task, arm="x", title="x", split="validation", settings=["all"], progress=False
        )
        return round(judged.mean("all"), 4)


# What is checked -------------------------------------------------------------------------------------------


@dataclass
class Checks:
    """What was checked.

    Attributes:
        done: name, whether it holds, and the figure behind it.
    """

    done: list[dict[str, Any]] = field(default_factory=list)

    def add(self, name: str, holds: bool, says: str) -> None:
        """One more; it is printed."""
        self.done.append({"name": name, "holds": bool(holds), "says": says})
        print(f"  {'holds' if holds else 'FAILS':6s} {name}: {says}", flush=True)

    @property
    def hold(self) -> bool:
        """Whether all do."""
        return all(check["holds"] for check in self.done)


def check_losses(
    device: torch.device, places: Places, checks: Checks, size: tuple[int, int]
) -> dict[str, Any]:
    """The losses of the first steps on both sides, by training; both students have the CPU's teacher."""
    targets = None
    found: dict[str, dict[str, list[float]]] = {}
    for side, at in (("cpu", CPU), ("device", device)):
        watch = Watch(places if side == "device" else Places(CPU))
        # Devices draw differently.
        lab = Lab(size, at, watch, Pace(epochs=1, batch=16, dropout=0.0, graph_steps=_STEPS))
        with full_precision(), Crossings().watching() as crossings:
            teacher = lab.teacher()
            if targets is None and teacher is not None:
                targets = lab.targets(teacher)
            assert targets is not None
            lab.student(targets)
        found[side] = {title: [loss for _, loss in steps[:_STEPS]] for title, steps in watch.steps.items()}
        says = "; ".join(sorted(crossings.noted)) or f"nothing is moved in {crossings.steps} steps"
        checks.add(f"steps stay where they are, {side}", crossings.steps > 0 and not crossings.noted, says)
    for title, want in found["cpu"].items():
        got = found["device"].get(title, [])
        apart = max((abs(a - b) for a, b in zip(want, got, strict=False)), default=math.inf)
        holds = len(want) == len(got) and apart <= _WITHIN
        checks.add(f"losses, {title}", holds, f"{len(got)} steps, at most {apart:.1e} from the CPU's")
    return found


def check_picks(scorer: Scorer, shop: Shop, checks: Checks) -> None:
    """The best items picked by torch where the scores are, against NumPy's of the same scores."""
    items, users = shop.data.items, shop.data.users[:256]
    scores = scorer.scores(users, items)
    # Rounded, many are equal.
    for name, given in (("scores", scores), ("rounded scores", scores.round())):
        found = topk.top_k(given, items, 20)
        want = top_k(given.cpu().numpy(), items, 20)
        same = np.array_equal(found[0], want[0]) and np.array_equal(found[1], want[1])
        checks.add(f"best items by {name}", same, f"{len(users)} users, {len(items)} items")


# What is measured ------------------------------------------------------------------------------------------


def timed(device: torch.device, make: Callable[[], _Made]) -> tuple[_Made, float]:
    """What `make` gives, and its seconds until the device is done."""
    begin = time.perf_counter()
    made = make()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return made, round(time.perf_counter() - begin, 3)


def forget_peak(device: torch.device) -> None:
    """The most memory in use starts anew."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_mb(device: torch.device) -> int | None:
    """The most memory in use since then, MiB; None on the CPU."""
    return round(torch.cuda.max_memory_allocated(device) / 2**20) if device.type == "cuda" else None


def measured(
    lab: Lab, checks: Checks, targets: Targets | None = None, *, times: float = 1.0
) -> tuple[dict[str, Any], Targets]:
    """The parts of training on the lab's device.

    Args:
        lab, checks: where, and what becomes of what is seen.
        targets: take the place of those of an ended teacher.
        times: how many times the steps of the lab's the vectors would take.
    """
    out: dict[str, Any] = {"steps": lab.watch.limit or "all"}
    forget_peak(lab.device)
    teacher = lab.teacher()
    vectors = sum(lab.watch.took(title) for title in lab.watch.steps if title.startswith(_VECTORS))
    out["vectors_s"] = round(times * vectors, 3)
    out["teacher_s"] = round(lab.watch.seconds("teacher") + (times - 1) * vectors, 3)
    out["teacher_peak_mb"] = peak_mb(lab.device)
    if teacher is not None:
        forget_peak(lab.device)
        targets, out["targets_s"] = timed(lab.device, partial(lab.targets, teacher))
        out["targets_peak_mb"] = peak_mb(lab.device)
        check_picks(teacher, lab.shop, checks)
    assert targets is not None
    forget_peak(lab.device)
    student = lab.student(targets)
    out |= {"student_s": round(lab.watch.seconds("student"), 3), "student_peak_mb": peak_mb(lab.device)}
    for name, scorer in (("teacher", teacher), ("student", student)):
        if scorer is not None:
            forget_peak(lab.device)
            out[f"{name}_ndcg"], out[f"judging_{name}_s"] = timed(lab.device, partial(lab.ndcg, scorer))
            out[f"judging_{name}_peak_mb"] = peak_mb(lab.device)
            # Within a plain function nobody sees that there is a device, so that NumPy picks.
            _, out[f"judging_{name}_by_numpy_s"] = timed(lab.device, partial(lab.ndcg, scorer.__call__))
    return out, targets


def measure_size(lab: Lab, checks: Checks, *, latest: float, limit: int | None) -> dict[str, Any]:
    """Both models of one size on the lab's device and, unless it is later than `latest`, on the CPU."""
    data = lab.shop.data
    out: dict[str, Any] = {
        "users": len(data.users), "items": len(data.items), "events": int(data.purchases.nnz),
    }  # fmt: skip
    print(f"{out['users']:,} users, {out['items']:,} items, {out['events']:,} events", flush=True)
    out["device"], targets = measured(lab, checks)
    out["cpu"] = None
    if time.perf_counter() > latest:
        print("  the CPU is left out: four minutes are over")
    else:
        steps = lab.pace.graph_steps
        pace = lab.pace if limit is None else replace(lab.pace, graph_steps=min(limit, steps))
        beside = Lab(lab.size, CPU, Watch(Places(CPU), limit, _TITLES), pace)
        out["cpu"], _ = measured(beside, checks, targets, times=steps / pace.graph_steps)
        parts = ("vectors_s", "teacher_s", "targets_s", "student_s", "judging_teacher_s", "judging_student_s")
        out["speed_up"] = {
            part.removesuffix("_s"): round(out["cpu"][part] / max(out["device"][part], 1e-9), 2)
            for part in parts
            if part in out["cpu"] and part in out["device"]
        }
    table(out)
    return out


def table(size: Mapping[str, Any]) -> None:
    """Prints one size, part by part."""
    cpu, device = size["cpu"] or {}, size["device"]
    print(f"  {'':28s} {'device':>10s} {'CPU':>10s} {'times':>7s}")
    for name, value in device.items():
        if name != "steps" and value is not None:
            times = size.get("speed_up", {}).get(name.removesuffix("_s"), "")
            print(f"  {name:28s} {value:>10} {cpu.get(name) or '':>10} {times:>7}")
    if cpu.get("steps", "all") != "all":
        print(f"  of the CPU {cpu['steps']} steps, and the rest reckoned from them", flush=True)


# Texts ---------------------------------------------------------------------------------------------------


def bert(device: torch.device, precision: Precision) -> PooledText:
    """A BERT of MiniLM-L6's shape, drawn at random, with a vocabulary of invented words."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    pieces = [*special, *"abcdefghijklmnopqrstuvwxyz0123456789"]
    pieces += [f"w{i}" for i in range(30_522 - len(pieces))]
    ids = {piece: i for i, piece in enumerate(pieces)}
    words = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    words.normalizer = normalizers.BertNormalizer()
    words.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    words.post_processor = processors.BertProcessing(("[SEP]", ids["[SEP]"]), ("[CLS]", ids["[CLS]"]))
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]",
        model_max_length=512,
    )  # fmt: skip
    torch.manual_seed(0)
    shape = BertConfig(
        vocab_size=len(pieces), hidden_size=384, num_hidden_layers=6, num_attention_heads=12,
        intermediate_size=1536,
    )  # fmt: skip
    return PooledText(BertModel(shape), tokenizer, name="drawn at random", device=device, precision=precision)


def measure_texts(
    device: torch.device, places: Places, checks: Checks, counts: tuple[int, int]
) -> dict[str, Any]:
    """Texts of 6 to 20 words a second on the CPU and on the device, there in both precisions.

    Args:
        device, places, checks: where, and what becomes of what is seen.
        counts: how many texts on the device and on the CPU.
    """
    draw = np.random.default_rng(0)
    many, few = counts
    texts = [" ".join(f"w{i}" for i in draw.integers(0, 30_000, n)) for n in draw.integers(6, 21, many)]
    sides: dict[str, tuple[torch.device, Precision, int]] = {
        "cpu, float32": (CPU, "float32", few), "device, float32": (device, "float32", many),
        "device, as it comes": (device, "auto", many),
    }  # fmt: skip
    out: dict[str, Any] = {}
    want = None
    for name, (at, precision, count) in sides.items():
        encoder = bert(at, precision)
        vectors = encoder.encode(texts[:few])
        forget_peak(at)
        _, seconds = timed(at, partial(encoder.encode, texts[:count]))
        out[name] = {"texts_per_s": round(count / seconds, 1), "peak_mb": peak_mb(at)}
        print(f"  {name:28s} {out[name]['texts_per_s']:>10} texts/s", flush=True)
        if want is None:
            want = vectors
            continue
        places.look([encoder.model, encoder.serving()], f"the encoder, {name}")
        near = float((vectors * want).sum(1).min())
        least = 0.9999 if precision == "float32" else 0.99
        checks.add(f"text vectors, {name}", near >= least, f"cosine with the CPU's at least {near:.6f}")
    fastest = max(out[name]["texts_per_s"] for name in list(out)[1:])
    out["speed_up"] = round(fastest / out["cpu, float32"]["texts_per_s"], 2)
    return out


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--small", action="store_true", help="small shops and few texts, as ever on the CPU")
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


def main() -> None:
    """Checks, measures, writes."""
    options, began = arguments(), time.perf_counter()
    latest = began + _LATEST_S
    device = choose_device(options.device)
    on_gpu = device.type == "cuda"
    small = options.small or not on_gpu
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    name = torch.cuda.get_device_name(device) if on_gpu else "CPU"
    against = f"{name} against the CPU" if on_gpu else "the CPU against the CPU: no speed-up is measured"
    print(f"{against}; torch {torch.__version__}, {torch.get_num_threads()} threads", flush=True)
    checks, places = Checks(), Places(device)
    document: dict[str, Any] = {
        "device": name, "compared": against, "torch": torch.__version__, "cuda": torch.version.cuda,
        "threads": torch.get_num_threads(), "small": small,
    }  # fmt: skip
    document["losses"] = check_losses(device, places, checks, SMALL[0] if small else (400, 800))
    document["texts"] = measure_texts(device, places, checks, (32, 16) if small else (16_384, 512))
    sizes, pace = (SMALL, Pace(graph_steps=_FEW_STEPS)) if small else (SIZES, Pace())
    document["sizes"] = []
    for size in sizes:
        limit = (2 if small else _CPU_STEPS) if size == sizes[-1] else None
        lab = Lab(size, device, Watch(places), pace)
        document["sizes"].append(measure_size(lab, checks, latest=latest, limit=limit))
    if on_gpu and time.perf_counter() < latest:
        with full_precision():
            document["float32"], _ = measured(Lab(sizes[1], device, Watch(places), pace), checks)
        print("in float32 at the middle size", json.dumps(document["float32"]), flush=True)
    says = "; ".join(places.astray[:5]) or f"all {places.looked} are on {device.type}"
    checks.add("every tensor where it should be", places.looked > 0 and not places.astray, says)
    document |= {"checks": checks.done, "seconds": round(time.perf_counter() - began, 1)}
    out = options.out or (RESULTS if on_gpu else None)
    if out is not None:
        out.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    print(f"{document['seconds']} s; {'every check holds' if checks.hold else 'a check FAILS'}")
    sys.exit(0 if checks.hold else 1)


if __name__ == "__main__":
    main()
