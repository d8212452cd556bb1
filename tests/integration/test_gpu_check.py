"""The check of a GPU runs on the CPU too, and sees what is wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path
from types import ModuleType

import pytest
import torch
from _load_script import ROOT, load_script
from _pretend import CUDA, PretendedGpu

from kgdistill.models.device import full_precision
from kgdistill.models.student import Student, StudentShape

META = torch.device("meta")


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "bench"))
    monkeypatch.setenv("OMP_NUM_THREADS", str(torch.get_num_threads()))
    return load_script("bench/gpu.py")


def test_it_holds_on_the_cpu(tmp_path: Path) -> None:
    out = tmp_path / "gpu.json"
    command = [
        sys.executable,
        str(ROOT / "bench" / "gpu.py"),
        "--small",
        "--device",
        "cpu",
        "--out",
        str(out),
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    document = json.loads(out.read_text(encoding="utf-8"))
    assert "the CPU against the CPU" in document["compared"]
    assert {check["holds"] for check in document["checks"]} == {True}
    names = {check["name"] for check in document["checks"]}
    vectors = "losses, teacher: its vectors, from before the labels"
    assert names >= {vectors, "losses, teacher", "losses, student", "every tensor where it should be"}
    for title, losses in document["losses"]["cpu"].items():
        assert document["losses"]["device"][title] == losses != []
    assert len(document["sizes"]) == 3
    for size in document["sizes"]:
        for side in ("device", "cpu"):
            assert size[side]["teacher_s"] > size[side]["vectors_s"] > 0 < size[side]["student_s"]
        assert size["device"]["teacher_ndcg"] > 0.05
    assert [size["cpu"]["steps"] for size in document["sizes"]] == ["all", "all", 2]
    assert document["texts"]["device, float32"]["texts_per_s"] > 0


def test_it_holds_on_a_pretended_gpu_and_writes_its_figures(
    gpu: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--small"])
    monkeypatch.setattr(gpu, "choose_device", lambda name: CUDA)
    monkeypatch.setattr(gpu, "SMALL", [(60, 100), (60, 110)])
    monkeypatch.setattr(gpu, "RESULTS", tmp_path / "gpu.json")
    # A deep copy of weights, as for bfloat16, would forget where they are.
    monkeypatch.setattr(gpu.PooledText, "serving", lambda encoder: encoder.model)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "a pretended GPU")
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 5 << 20)
    for name in ("synchronize", "reset_peak_memory_stats"):
        monkeypatch.setattr(torch.cuda, name, lambda device: None)
    warnings.filterwarnings("ignore", message=".*CUDA is not available")
    with full_precision(), PretendedGpu(), pytest.raises(SystemExit) as ended:
        gpu.main()
    document = json.loads((tmp_path / "gpu.json").read_text(encoding="utf-8"))
    assert ended.value.code == 0, document["checks"]
    assert document["compared"] == "a pretended GPU against the CPU"
    assert document["sizes"][0]["device"]["judging_teacher_peak_mb"] == 5
    assert document["sizes"][0]["cpu"]["teacher_peak_mb"] is None
    assert document["float32"]["teacher_ndcg"] > 0


def test_losses_that_differ_end_it_with_an_error(
    gpu: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--device", "cpu"])
    monkeypatch.setattr(gpu, "measure_texts", lambda *given: {})
    monkeypatch.setattr(gpu, "SMALL", [(60, 100)])
    monkeypatch.setattr(gpu, "_WITHIN", -1.0)
    with pytest.raises(SystemExit) as ended:
        gpu.main()
    assert ended.value.code == 1
    assert "FAILS  losses, teacher" in capsys.readouterr().out


def test_a_tensor_that_is_elsewhere_is_named(gpu: ModuleType) -> None:
    model = Student(StudentShape(8, 1, 4, (), 1))
    places = gpu.Places(torch.device("cpu"))
    places.look({"held": [model]}, "lesson")
    assert places.looked >= len([*model.parameters(), *model.buffers()])
    assert not places.astray
    model.blend.new_boost = torch.zeros((), device=META)
    places.look({"held": [model]}, "lesson")
    assert ["'new_boost'] is on meta" in way for way in places.astray] == [True]
    # One that is no part of a model.
    places = gpu.Places(torch.device("cpu"))
    places.look(gpu.Targets(*([torch.zeros(2)] * 3), (1,), torch.zeros(2, device=META)), "t")
    assert len(places.astray) == 1


def test_best_items_in_another_order_are_seen(gpu: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = gpu.Lab((60, 100), gpu.CPU, gpu.Watch(gpu.Places(gpu.CPU)), gpu.Pace(epochs=1, graph_steps=8))
    teacher = lab.teacher()
    checks = gpu.Checks()
    gpu.check_picks(teacher, lab.shop, checks)
    assert checks.hold
    right = gpu.topk.top_k

    def reversed_ties(scores: torch.Tensor, items: object, k: int) -> object:
        found, values = right(scores.flip(1), items, k)
        return len(items) - 1 - found, values  # type: ignore[arg-type]

    monkeypatch.setattr(gpu.topk, "top_k", reversed_ties)
    gpu.check_picks(teacher, lab.shop, checks)
    assert [check["holds"] for check in checks.done] == [True, True, True, False]
