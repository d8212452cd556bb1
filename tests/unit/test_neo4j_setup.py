"""The files that set up a Neo4j: compose, its image, the local server's jars and settings."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from kgdistill.resources import graph_dir
from kgdistill.store.neo4j.tools import java_major, neo4j_version

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    return loaded


def test_compose_and_the_local_server_run_the_same_pinned_neo4j(compose: dict[str, Any]) -> None:
    assert compose["services"]["neo4j"]["image"] == f"neo4j:{neo4j_version()}-community"
    for service in compose["services"].values():
        assert re.search(r":\d+\.\d+\.\d+", service["image"])
    base = re.search(r"^FROM (\S+)", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    assert base is not None
    assert re.search(r":\d+\.\d+\.\d+", base[1])


def test_compose_opens_ports_on_the_loopback_only(compose: dict[str, Any]) -> None:
    ports = [p for service in compose["services"].values() for p in service.get("ports", ())]
    assert len(ports) >= 3
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_compose_will_not_start_a_store_without_a_password(compose: dict[str, Any]) -> None:
    store = compose["services"]["neo4j"]["environment"]
    assert store["NEO4J_AUTH"].startswith("neo4j/${NEO4J_PASSWORD:?")
    text = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    # Every use names what to set; none has a default.
    assert set(re.findall(r"\$\{NEO4J_PASSWORD(..)", text)) == {":?"}


def test_the_trainer_waits_for_a_healthy_store_that_keeps_its_data(compose: dict[str, Any]) -> None:
    services = compose["services"]
    assert "cypher-shell" in services["neo4j"]["healthcheck"]["test"][1]
    assert services["trainer"]["depends_on"]["neo4j"]["condition"] == "service_healthy"
    assert services["trainer"]["profiles"] == ["gpu"]
    device = services["trainer"]["deploy"]["resources"]["reservations"]["devices"][0]
    assert (device["driver"], device["capabilities"]) == ("nvidia", ["gpu"])
    named = {v.split(":")[0] for service in services.values() for v in service["volumes"]}
    assert named == set(compose["volumes"])
    assert "neo4j-data:/data" in services["neo4j"]["volumes"]


def test_the_trainer_writes_to_a_volume_that_is_its_users_own(compose: dict[str, Any]) -> None:
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
    said: dict[str, list[str]] = {}
    for line in lines:
        word, _, rest = line.partition(" ")
        said.setdefault(word, []).append(rest)
    # Commands run, and write what has no other place, in the last working folder.
    folder, user = said["WORKDIR"][-1], said["USER"][-1]
    assert said["VOLUME"] == [folder]
    assert user != "root"
    made = next(run for run in said["RUN"] if "useradd" in run)
    assert f"mkdir {folder}" in made
    assert f"chown {user}:{user} {folder}" in made
    trainer = compose["services"]["trainer"]
    volume, mounted = trainer["volumes"][0].split(":")
    # A volume of Docker's has the owner of the folder in the image; a folder of the host's has its own.
    assert volume in compose["volumes"]
    assert mounted == folder
    assert Path(trainer["environment"]["KGDISTILL_ARCHIVE"]).is_relative_to(folder)
    curves = compose["services"]["tensorboard"]
    assert curves["volumes"] == [f"{volume}:{folder}:ro"]
    assert f"{folder}/runs" in curves["entrypoint"]


def test_compose_gives_the_server_the_same_fences_as_the_local_one(compose: dict[str, Any]) -> None:
    text = (graph_dir() / "neo4j" / "neo4j.conf").read_text(encoding="utf-8")
    local = dict(line.split("=", 1) for line in text.splitlines() if line and not line.startswith("#"))
    docker = {
        name.removeprefix("NEO4J_").replace("__", "\0").replace("_", ".").replace("\0", "_"): value
        for name, value in compose["services"]["neo4j"]["environment"].items()
    }
    for name in (
        "dbms.usage_report.enabled",
        "dbms.security.allow_csv_import_from_file_urls",
        "internal.dbms.cypher_ip_blocklist",
        "dbms.security.procedures.allowlist",
        "db.transaction.timeout",
        "db.tx_log.rotation.size",
        "db.tx_log.rotation.retention_policy",
        "db.checkpoint.interval.time",
    ):
        assert docker[name] == local[name]
    assert local["internal.dbms.cypher_ip_blocklist"] == "0.0.0.0/0,::/0"
    assert local["dbms.security.allow_csv_import_from_file_urls"] == "false"


def test_compose_keeps_the_server_on_a_network_that_leads_nowhere(compose: dict[str, Any]) -> None:
    services = compose["services"]
    assert services["neo4j"]["networks"] == ["graph"]
    assert services["neo4j"]["dns"] == ["127.0.0.1"]
    options = compose["networks"]["graph"]["driver_opts"]
    assert options == {"com.docker.network.bridge.enable_ip_masquerade": "false"}
    assert "graph" in services["trainer"]["networks"]


@pytest.mark.parametrize(
    ("printed", "major"),
    [
        ('openjdk version "17.0.15" 2025-04-15', 17),
        ('java version "1.8.0_401"', 8),
        ('openjdk version "21" 2023-09-19', 21),
        ('Picked up _JAVA_OPTIONS: -Xmx1g\nopenjdk version "24-ea" 2025-03-18', 24),
        ("The operation couldn't be completed. Unable to locate a Java Runtime.", None),
    ],
)
def test_the_version_of_java_is_read_from_what_it_prints(printed: str, major: int | None) -> None:
    assert java_major(printed) == major
