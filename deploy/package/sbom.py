"""Prints the software bill of materials of the programs, in the form of CycloneDX 1.5.

usage: sbom.py VERSION

It names every package that is compiled into a program, as THIRD-PARTY.txt does, with its license and its
checksum. Needs cargo, and the sources of all dependencies (`cargo fetch`).
"""

import json
import os
import sys
import uuid
from datetime import datetime, timezone
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import notices  # noqa: E402

NAMESPACE = uuid.UUID("6f0f3c1e-3b2d-5c4a-9c1e-0a1b2c3d4e5f")


def checksums():
    """The checksum of each package from a registry, by name and version."""
    found, entry = {}, {}
    for line in (notices.ROOT / "Cargo.lock").read_text().splitlines():
        if line == "[[package]]":
            entry = {}
        elif " = " in line:
            key, value = line.split(" = ", 1)
            entry[key] = value.strip('"')
            if key == "checksum":
                found[entry["name"], entry["version"]] = entry["checksum"]
    return found


def purl(package):
    return f"pkg:cargo/{package['name']}@{package['version']}"


def component(package, hashes):
    made = {
        "type": "library",
        "bom-ref": purl(package),
        "name": package["name"],
        "version": package["version"],
        "purl": purl(package),
        "scope": "required",
    }
    if package["license"]:
        # Cargo once allowed a slash for a choice, which SPDX does not.
        made["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
    checksum = hashes.get((package["name"], package["version"]))
    if checksum:
        made["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    return made


def main():
    version, epoch = sys.argv[1], int(os.environ["SOURCE_DATE_EPOCH"])
    hashes, packages = checksums(), notices.contained()
    root = {"type": "application", "bom-ref": "push-suite", "name": "push-suite", "version": version}
    root["licenses"] = [{"license": {"id": "MIT"}}]
    root["components"] = [
        {"type": "application", "bom-ref": f"push-suite/{name}", "name": name, "version": version}
        for name in sorted(name.removeprefix("push-suite-") for name in notices.PROGRAMS)
    ]
    names = {purl(package) for package in packages}
    bom = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{uuid.uuid5(NAMESPACE, f'{version} {sorted(names)}')}",
        "version": 1,
        "metadata": {
            "timestamp": datetime.fromtimestamp(epoch, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": root,
        },
        "components": [component(package, hashes) for package in packages],
        "dependencies": [{"ref": "push-suite", "dependsOn": sorted(names)}],
    }
    json.dump(bom, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
