"""Writes a folder as the one layer of an OCI image layout, without a container engine.

usage: image.py FOLDER LAYOUT VERSION

The image has the three programs in /bin, runs as user 65532, and writes nothing: which program it runs
is the first word of the command. The same folder makes the same image (SOURCE_DATE_EPOCH).
"""

import gzip
import hashlib
import io
import json
import os
import platform
import shutil
import sys
import tarfile
from datetime import datetime, timezone
from pathlib import Path

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


def layer(folder, epoch):
    """The folder as an archive, in one order, of one owner and one time."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path in sorted(folder.rglob("*")):
            entry = archive.gettarinfo(path, path.relative_to(folder))
            entry.uid = entry.gid = 0
            entry.uname = entry.gname = ""
            entry.mtime = epoch
            if path.is_file():
                with path.open("rb") as file:
                    archive.addfile(entry, file)
            else:
                archive.addfile(entry)
    return content.getvalue()


class Layout:
    """An OCI image layout (image-spec 1.1)."""

    def __init__(self, folder):
        shutil.rmtree(folder, ignore_errors=True)
        self.folder = folder
        self.blobs = folder / "blobs/sha256"
        self.blobs.mkdir(parents=True)
        (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')

    def add(self, content, media_type):
        """Adds a blob. Returns its descriptor."""
        digest = hashlib.sha256(content).hexdigest()
        (self.blobs / digest).write_bytes(content)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}

    def add_json(self, value, media_type):
        return self.add(json.dumps(value, separators=(",", ":"), sort_keys=True).encode(), media_type)

    def finish(self, manifest, tag):
        manifest["annotations"] = {"org.opencontainers.image.ref.name": tag}
        index = {"schemaVersion": 2, "manifests": [manifest]}
        (self.folder / "index.json").write_text(json.dumps(index, separators=(",", ":"), sort_keys=True))


def main():
    folder, layout, version = Path(sys.argv[1]), Layout(Path(sys.argv[2])), sys.argv[3]
    epoch = int(os.environ["SOURCE_DATE_EPOCH"])
    created = datetime.fromtimestamp(epoch, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    tar = layer(folder, epoch)
    compressed = gzip.compress(tar, compresslevel=9, mtime=0)
    labels = {
        "org.opencontainers.image.title": "push-suite",
        "org.opencontainers.image.version": version,
        "org.opencontainers.image.licenses": "MIT",
    }
    config = {
        "architecture": ARCHITECTURES[platform.machine()],
        "os": "linux",
        "created": created,
        "config": {
            "User": "65532:65532",
            "Env": ["PATH=/bin"],
            "Cmd": ["gateway", "--help"],
            "StopSignal": "SIGTERM",
            "Labels": labels,
        },
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(tar).hexdigest()}"]},
        "history": [{"created": created, "created_by": "deploy/package/build.sh image"}],
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": layout.add_json(config, CONFIG),
        "layers": [layout.add(compressed, LAYER)],
        "annotations": {**labels, "org.opencontainers.image.created": created},
    }
    layout.finish(layout.add_json(manifest, MANIFEST), version)


if __name__ == "__main__":
    main()
