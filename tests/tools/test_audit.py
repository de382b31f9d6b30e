"""What `make audit` and `make sbom` make of what their tools write.

The reports are in the shapes that pip-audit and CycloneDX document; no vulnerability service was
asked for them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from tools import audit, sbom

FINE = {"name": "click", "version": "8.5.1", "vulns": []}
BAD = {
    "name": "flask",
    "version": "0.5",
    "vulns": [
        {"id": "PYSEC-2019-179", "fix_versions": ["1.0"], "aliases": ["CVE-2019-1010083"]},
        {"id": "PYSEC-2018-66", "fix_versions": []},
    ],
}
UNKNOWN = {"name": "x", "skip_reason": "Dependency not found on PyPI and could not be audited: x"}


def outcome(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, *entries: Any
) -> tuple[int, str]:
    path = tmp_path / f"{name}.json"
    path.write_text(json.dumps({"dependencies": entries, "fixes": []}))
    return audit.main([str(path)]), capsys.readouterr().out


def test_packages_without_known_vulnerabilities_pass(tmp_path: Path, capsys: Any) -> None:
    assert outcome(tmp_path, capsys, "latest", FINE) == (
        0, "latest: 1 packages audited, 0 vulnerable\n",
    )  # fmt: skip


def test_a_vulnerability_in_the_newest_pins_fails_and_is_named(tmp_path: Path, capsys: Any) -> None:
    code, said = outcome(tmp_path, capsys, "latest", FINE, BAD)
    assert code == 1
    assert "flask 0.5: PYSEC-2019-179 (fixed in 1.0); PYSEC-2018-66 (fixed in no version)" in said


def test_a_vulnerability_in_the_lowest_pins_is_named_and_does_not_fail(
    tmp_path: Path, capsys: Any
) -> None:
    code, said = outcome(tmp_path, capsys, "lowest", BAD)
    assert code == 0 and "flask 0.5: PYSEC-2019-179" in said


def test_a_service_that_knows_no_package_is_no_audit(tmp_path: Path, capsys: Any) -> None:
    code, said = outcome(tmp_path, capsys, "latest", UNKNOWN)
    assert code == 0 and said.startswith("NOT RUN: latest: no package was audited (x: Dependency")


def test_a_package_that_alone_is_left_out_fails(tmp_path: Path, capsys: Any) -> None:
    code, said = outcome(tmp_path, capsys, "latest", FINE, UNKNOWN)
    assert code == 1 and "not audited: x: Dependency not found" in said


def test_no_report_is_no_audit(tmp_path: Path, capsys: Any) -> None:
    assert audit.main([str(tmp_path / "latest.json")]) == 0
    assert "NOT RUN: latest: no package was audited (pip-audit wrote no report)" in (
        capsys.readouterr().out
    )


# --- The bill of materials ------------------------------------------------------------------------

CLICK = {
    "name": "Click",
    "version": "8.5.1",
    "purl": "pkg:pypi/click@8.5.1",
    "licenses": [{"license": {"id": "BSD-3-Clause"}}],
}
WANTED = [Requirement("click>=8.1")]


def bill(*components: Any) -> dict[str, Any]:
    return {"bomFormat": "CycloneDX", "specVersion": "1.6", "components": list(components)}


def test_a_bill_with_everything_is_whole() -> None:
    assert list(sbom.problems(bill(CLICK), WANTED)) == []


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (bill(), "click is not in it"),
        (bill({**CLICK, "version": "7.0"}), "click>=8.1 is in it as 7.0"),
        (bill({**CLICK, "licenses": []}), "click has no licenses"),
        (bill({**CLICK, "purl": None}), "click has no purl"),
        ({**bill(CLICK), "bomFormat": "SPDX"}, "it is no CycloneDX bill of materials"),
    ],
)
def test_a_bill_that_lacks_something_is_not(content: dict[str, Any], problem: str) -> None:
    assert list(sbom.problems(content, WANTED)) == [problem]


def test_the_base_dependencies_are_those_of_the_package() -> None:
    assert {"click", "openai", "pydantic"} <= {one.name for one in sbom.dependencies()}
