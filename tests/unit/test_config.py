"""Settings: what is absurd is refused with the key that it concerns, before anything is read or made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import annotated_types
import pytest
import yaml
from pydantic import BaseModel

from kgdistill.cli.options import run_at
from kgdistill.config import RunConfig, StudentConfig, TeacherConfig, TextConfig, read_config, resolve_config
from kgdistill.errors import InputError
from kgdistill.run.create import over_held
from kgdistill.run.run import Run
from kgdistill.tasks.protocol import DiscoveryProtocol

PROTOCOL = {"name": "n", "title": "t", "cut": "2024-01-01", "test_start": "2024-02-01"}


@pytest.mark.parametrize("section", [TextConfig, TeacherConfig, StudentConfig, RunConfig, DiscoveryProtocol])
def test_every_number_has_a_lower_and_an_upper_bound(section: type[BaseModel]) -> None:
    for name, field in section.model_fields.items():
        if field.annotation in (int, float):
            kinds = {type(limit) for limit in field.metadata}
            assert kinds & {annotated_types.Ge, annotated_types.Gt}, name
            assert kinds & {annotated_types.Le, annotated_types.Lt}, name


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("teacher: {dim: 1000000000}", "teacher.dim: Input should be less than or equal to 4096"),
        ("teacher: {dim: 1}", "teacher.dim: "),
        ("teacher: {layers: 9}", "teacher.layers: "),
        ("teacher: {epochs: -1}", "teacher.epochs: "),
        ("teacher: {lr: .nan}", "teacher.lr: Input should be a finite number"),
        ("student: {lr: .inf}", "student.lr: Input should be a finite number"),
        ("student: {lr: -0.1}", "student.lr: "),
        ("student: {temperature: 0}", "student.temperature: "),
        ("student: {id_dropout: 1}", "student.id_dropout: "),
        ("student: {list_weight: .inf}", "student.list_weight: "),
        ("teacher: {inner_share: 1.5}", "teacher.inner_share: "),
        ("text: {batch: 0}", "text.batch: "),
        ("text: {lr: .nan}", "text.lr: "),
        ("protocol: {k: 1000000000}", "protocol.k: "),
        ("protocol: {ks: [0]}", "every k must be from 1"),
        ("seed: -1", "seed: Input should be greater than or equal to 0"),
        ("seed: 18446744073709551616", "seed: Input should be less than or equal to 4294967295"),
        ("threads: 1000000", "threads: "),
        ("student: 5", "student: "),
        ("colour: red", "unknown key 'colour'\n  a newer version may know it; valid keys: task, protocol, "),
        ("protocol: {cut: 2024-13-45}", "is not YAML: month must be in 1..12"),
    ],
)
def test_an_absurd_setting_is_one_message(text: str, words: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(text, encoding="utf-8")

    def read() -> None:
        values: dict[str, Any] = read_config(file)
        protocol = {**PROTOCOL, **values.get("protocol", {})}
        resolve_config({**values, "protocol": protocol}, where=str(file))

    with pytest.raises(InputError) as caught:
        read()
    assert words in str(caught.value)
    assert str(caught.value).startswith(f"{file}: ")


def test_a_configuration_comes_back_as_it_was_written(tmp_path: Path) -> None:
    config = resolve_config({"protocol": PROTOCOL, "seed": 2**32 - 1, "teacher": {"dim": 4096}})
    for text in (config.model_dump_json(), yaml.safe_dump(config.model_dump(mode="json"))):
        (tmp_path / "config").write_text(text, encoding="utf-8")
        assert resolve_config(read_config(tmp_path / "config")) == config


def test_settings_that_only_former_runs_hold_are_left_out(tmp_path: Path) -> None:
    run = Run(tmp_path / "run", resolve_config({"student": {"epochs": 3}, "protocol": PROTOCOL}))
    file = run.folder / "config.json"
    values = json.loads(file.read_bytes())
    values["student"] |= {"relational_weight": 0.01, "rkd_weight": 0.01}
    file.write_text(json.dumps(values), encoding="utf-8")
    written = file.read_bytes()
    for opened in (Run.open(run.folder), run_at(run.folder)):
        assert opened.config == run.config
    assert over_held(run.folder, {}, None)["student"]["epochs"] == 3
    resolve_config(over_held(run.folder, {}, None))
    # Opening a run does not touch it.
    assert file.read_bytes() == written
    values["student"]["colour"] = "red"
    file.write_text(json.dumps(values), encoding="utf-8")
    with pytest.raises(InputError, match=r"unknown key 'student\.colour'"):
        Run.open(run.folder)
