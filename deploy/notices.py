"""Collects the license notices of all packages in the binaries.

usage: notices.py           rewrites THIRD-PARTY.txt
       notices.py --check   exits with 1 if THIRD-PARTY.txt is out of date

Needs cargo, and the sources of all dependencies (`cargo fetch`).
"""

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FILE = ROOT / "THIRD-PARTY.txt"
PROGRAMS = {f"push-suite-{name}" for name in ("register", "gateway", "business-worker", "gwctl")}
TARGET = "x86_64-unknown-linux-gnu"

# The order of preference among alternative licenses of a crate.
PREFERRED = ["MIT", "ISC", "BSD", "ZLIB", "APACHE"]

HEAD = """\
Third-party software in the binaries of push-suite
==================================================

The programs register, gateway, business-worker and gwctl contain the packages below. Each is listed
with its version, its license and where it comes from; the texts of the licenses follow. Where a
package may be had under one of several licenses, the text of one is given. The standard library of
Rust (https://github.com/rust-lang/rust, MIT OR Apache-2.0) is contained as well.

This file is written by deploy/notices.py.
"""


def contained():
    """The external packages that are compiled into a program, by name."""
    command = ["cargo", "metadata", "--format-version=1", "--locked", "--filter-platform", TARGET]
    metadata = json.loads(subprocess.check_output(command, cwd=ROOT))
    packages = {package["id"]: package for package in metadata["packages"]}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    macros = {
        id for id, package in packages.items()
        if any("proc-macro" in target["kind"] for target in package["targets"])
    }
    own = set(metadata["workspace_members"])
    left = [id for id in own if packages[id]["name"] in PROGRAMS]
    if len(left) != len(PROGRAMS):
        sys.exit("some of the programs are no packages of the workspace")
    found = set()
    while left:
        id = left.pop()
        # Procedural macros and their dependencies run only in the compiler.
        if id in found or id in macros:
            continue
        found.add(id)
        for dependency in nodes[id]["deps"]:
            if any(kind["kind"] is None for kind in dependency["dep_kinds"]):
                left.append(dependency["pkg"])
    return sorted((packages[id] for id in found - own), key=lambda it: (it["name"], it["version"]))


def texts(package):
    """The license texts and notices that come with a package."""
    folder = Path(package["manifest_path"]).parent
    files = sorted(
        file for file in folder.iterdir()
        if file.is_file() and re.match(r"(licen[cs]e|copying|notice|unlicense|copyright)", file.name, re.I)
    )
    notices = [file for file in files if file.name.upper().startswith("NOTICE")]
    licenses = [file for file in files if file not in notices]
    if is_choice(package["license"] or "") and len(licenses) > 1:
        for name in PREFERRED:
            chosen = [file for file in licenses if name in file.name.upper()]
            if chosen:
                licenses = chosen
                break
    return [clean(file.read_text(errors="replace")) for file in licenses + notices]


def is_choice(expression):
    return bool(re.search(r"\bOR\b|/", expression)) and not re.search(r"\bAND\b", expression)


def clean(text):
    lines = (line.rstrip() for line in text.expandtabs().splitlines())
    return "\n".join(lines).strip("\n")


def written():
    by_text, parts, listed = {}, [HEAD], []
    for package in contained():
        name = f"{package['name']} {package['version']}"
        source = package["repository"] or f"https://crates.io/crates/{package['name']}"
        listed.append(f"{name}\n    {package['license']}\n    {source}")
        found = texts(package)
        if not found:
            sys.exit(f"{name} ({package['license']}) has no license text")
        for text in found:
            by_text.setdefault(text, []).append(name)
    parts.append("\n".join(listed) + "\n")
    for text, names in by_text.items():
        parts.append("-" * 80 + "\n" + "\n".join(names) + "\n\n" + text + "\n")
    return "\n".join(parts)


def main():
    new = written()
    if sys.argv[1:] == ["--check"]:
        if not FILE.exists() or FILE.read_text() != new:
            sys.exit("THIRD-PARTY.txt is out of date: run python3 deploy/notices.py")
    elif not sys.argv[1:]:
        FILE.write_text(new)
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
