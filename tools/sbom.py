"""Is a bill of materials whole? ``python tools/sbom.py FILE``; with ``--dependencies``, what the
wheel depends on, one a line."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent


def dependencies() -> list[Requirement]:
    """The base dependencies that this interpreter needs."""
    content = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    found = [Requirement(text) for text in content["project"]["dependencies"]]
    return [one for one in found if one.marker is None or one.marker.evaluate()]


def problems(bill: dict[str, Any], wanted: Sequence[Requirement]) -> Iterator[str]:
    """What is missing: a dependency, or of any component its version, package URL or licence."""
    if bill.get("bomFormat") != "CycloneDX":
        yield "it is no CycloneDX bill of materials"
    components = {normal(each["name"]): each for each in bill.get("components", ())}
    for requirement in wanted:
        found = components.get(normal(requirement.name))
        if found is None:
            yield f"{requirement.name} is not in it"
        elif not requirement.specifier.contains(found.get("version", ""), prereleases=True):
            yield f"{requirement} is in it as {found.get('version')}"
    for name, component in sorted(components.items()):
        for field in ("version", "purl", "licenses"):
            if not component.get(field):
                yield f"{name} has no {field}"


def normal(name: str) -> str:
    """A package's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def main(arguments: Sequence[str]) -> int:
    """Print the dependencies, or check a file."""
    if arguments[0] == "--dependencies":
        print("\n".join(str(one) for one in dependencies()))
        return 0
    bill = json.loads(Path(arguments[0]).read_text("utf-8"))
    found = list(problems(bill, dependencies()))
    print("\n".join(found) or f"{arguments[0]}: {len(bill['components'])} components, all whole")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
