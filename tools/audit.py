"""What pip-audit found in the pinned packages, judged: ``python tools/audit.py REPORT...``.

pip-audit says "No known vulnerabilities found" and ends with 0 also where its service knew none of
the packages, as a mirror without vulnerabilities does. Here that is not an audit, and is said.

Known vulnerabilities in the newest pins, which tests and wheels are built with, are an error. The
lowest pins are what vendors' images carry; they are listed and do not fail, since which version is
installed there is not this package's to choose."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

GATED = "latest"
"""In the name of the report that decides."""


@dataclass(frozen=True)
class Audit:
    """One report of pip-audit."""

    name: str
    audited: int
    vulnerable: tuple[str, ...]
    """A line for each package with known vulnerabilities."""
    skipped: tuple[str, ...]
    """A line for each package that the service does not know."""

    @property
    def run(self) -> bool:
        """Whether anything was audited at all."""
        return self.audited > 0

    @property
    def fails(self) -> bool:
        """Whether it is an error: a package of the newest pins is vulnerable, or was left out."""
        return GATED in self.name and self.run and bool(self.vulnerable or self.skipped)

    def lines(self) -> Iterator[str]:
        """What is said."""
        if not self.run:
            why = self.skipped[0] if self.skipped else "pip-audit wrote no report"
            yield f"NOT RUN: {self.name}: no package was audited ({why})"
            return
        yield f"{self.name}: {self.audited} packages audited, {len(self.vulnerable)} vulnerable"
        yield from (f"  {line}" for line in self.vulnerable)
        yield from (f"  not audited: {line}" for line in self.skipped)


def read(text: str, name: str) -> Audit:
    """A report, as ``pip-audit --format json`` writes it.

    Raises:
        ValueError: it is none.
    """
    entries = json.loads(text)["dependencies"]
    audited = [entry for entry in entries if "vulns" in entry]
    return Audit(
        name=name,
        audited=len(audited),
        vulnerable=tuple(_vulnerable(entry) for entry in audited if entry["vulns"]),
        skipped=tuple(
            f"{entry['name']}: {entry['skip_reason']}"
            for entry in entries
            if "skip_reason" in entry
        ),
    )


def _vulnerable(entry: dict[str, Any]) -> str:
    found = (
        f"{vuln['id']} (fixed in {', '.join(vuln['fix_versions']) or 'no version'})"
        for vuln in entry["vulns"]
    )
    return f"{entry['name']} {entry['version']}: {'; '.join(found)}"


def main(paths: Sequence[str]) -> int:
    """Say what each report came to; 1 if one fails."""
    audits = []
    for path in map(Path, paths):
        text = path.read_text("utf-8") if path.is_file() else ""
        empty = Audit(path.stem, 0, (), ())
        audits.append(read(text, path.stem) if text.strip() else empty)
    for audit in audits:
        print("\n".join(audit.lines()))
    return int(any(audit.fails for audit in audits))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
