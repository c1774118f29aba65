"""A data set of one small file, for tests of the registry."""

from __future__ import annotations

import hashlib

CONTENT = b"a,b\n1,2\n"
REVISION = "0123456789abcdef"


def entry(server: str, /, **changes: object) -> dict[str, object]:
    """Return the set as a registry has it, with these fields of set or file changed."""
    file = {
        "mirror": "toy/toy.csv",
        "url": f"{server}/{REVISION}/toy.csv",
        "bytes": len(CONTENT),
        "sha256": hashlib.sha256(CONTENT).hexdigest(),
    }
    made: dict[str, object] = {
        "title": "Toy",
        "licence": "none",
        "redistributable": False,
        "citation": "Nobody",
        "used_by": ["ch99_demo"],
        "repository": "nobody/toy",
        "revision": REVISION,
        "files": [{**file, **{key: one for key, one in changes.items() if key in file}}],
    }
    return made | {key: one for key, one in changes.items() if key not in file}
