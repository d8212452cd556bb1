"""Where a report was written: versions, machine, threads."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Mapping
from typing import Any

_PACKAGES = (
    "kgdistill",
    "torch",
    "torch-geometric",
    "transformers",
    "sentence-transformers",
    "neo4j",
    "ladybug",
    "numpy",
    "pandas",
    "pyarrow",
    "scipy",
)


def environment(config: Mapping[str, Any]) -> dict[str, str]:
    """Names and values to print; the device is the one the run's configuration names."""
    found = {
        "Python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "CPU cores": str(os.cpu_count() or "unknown"),
        "threads": os.environ.get("OMP_NUM_THREADS") or f"{os.cpu_count() or 'unknown'} (no OMP_NUM_THREADS)",
    }
    device = _find(config, "device")
    if device is not None:
        found["device"] = str(device)
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _find(config: Mapping[str, Any], key: str) -> Any:
    """The value of `key`, at the top or one level below."""
    if key in config:
        return config[key]
    return next((v[key] for v in config.values() if isinstance(v, Mapping) and key in v), None)
