"""Makes an image of one layer, as an OCI archive, from a folder: the same bytes from the same files.

    pack.py NAME FOLDER ARCHIVE [CONFIG]

All files belong to root in it. CONFIG is JSON: the `config` of the OCI image specification.
"""

import hashlib
import io
import json
import os
import platform
import sys
import tarfile

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def layer_of(folder):
    """The folder as a tar archive, in the order of the names."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for place, folders, files in os.walk(folder):
            folders.sort()
            links = [name for name in folders if os.path.islink(os.path.join(place, name))]
            for name in sorted(files + [name for name in folders if name not in links] + links):
                path = os.path.join(place, name)
                entry = archive.gettarinfo(path, os.path.relpath(path, folder))
                entry.uid = entry.gid = entry.mtime = 0
                entry.uname = entry.gname = ""
                if entry.isreg():
                    with open(path, "rb") as content:
                        archive.addfile(entry, content)
                else:
                    archive.addfile(entry)
    return packed.getvalue()


def main(name, folder, archive, config="{}"):
    layer = layer_of(folder)
    blobs = {}

    def kept(content, media_type):
        digest = hashlib.sha256(content).hexdigest()
        blobs[digest] = content
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}

    def document(value, media_type):
        return kept(json.dumps(value, sort_keys=True).encode(), media_type)

    layers = [kept(layer, "application/vnd.oci.image.layer.v1.tar")]
    settings = document(
        {
            "architecture": ARCHITECTURES.get(platform.machine(), platform.machine()),
            "os": "linux",
            "config": json.loads(config),
            "rootfs": {"type": "layers", "diff_ids": [layers[0]["digest"]]},
        },
        "application/vnd.oci.image.config.v1+json",
    )
    manifest_type = "application/vnd.oci.image.manifest.v1+json"
    manifest = document(
        {"schemaVersion": 2, "mediaType": manifest_type, "config": settings, "layers": layers}, manifest_type
    )
    manifest["annotations"] = {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name}
    files = {
        "oci-layout": b'{"imageLayoutVersion": "1.0.0"}',
        "index.json": json.dumps({"schemaVersion": 2, "manifests": [manifest]}, sort_keys=True).encode(),
        **{f"blobs/sha256/{digest}": content for digest, content in blobs.items()},
    }
    with tarfile.open(archive, "w", format=tarfile.PAX_FORMAT) as packed:
        for path, content in files.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(content)
            packed.addfile(entry, io.BytesIO(content))


if __name__ == "__main__":
    if len(sys.argv) not in (4, 5):
        sys.exit(__doc__)
    main(*sys.argv[1:])
