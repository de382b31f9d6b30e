"""Installation where it matters: offline, beside a vendor's packages, from a wheel and an sdist."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from protocol_server import ProtocolServer

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.install

VENDOR = {
    "torch": "2.8.0+metax3.3.0.2",
    "openai": "1.52.0",
    "antlr4-python3-runtime": "4.9.3",
    "numpy": "1.26.4",
}


def run(*command: object, **options: object) -> str:
    result = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False, **options
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def stand_in_torch(folder: Path) -> Path:
    """A wheel that has the name and version of a vendor's torch, and nothing of its content."""
    version = VENDOR["torch"]
    path = folder / f"torch-{version}-py3-none-any.whl"
    info = f"torch-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("torch/__init__.py", f"__version__ = {version!r}\n")
        wheel.writestr(
            f"{info}/METADATA", f"Metadata-Version: 2.1\nName: torch\nVersion: {version}\n"
        )
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")
    return path


@pytest.fixture(scope="module")
def oldest() -> str:
    """Python 3.10, which vendor images have; this interpreter where there is none."""
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    pyenv = sorted(root.glob("versions/3.10.*/bin/python"))
    for candidate in [*pyenv, shutil.which("python3.10")]:
        if (
            candidate
            and subprocess.run([candidate, "-c", "import venv"], check=False).returncode == 0
        ):
            return str(candidate)
    if sys.version_info >= (3, 12):
        pytest.skip("NOT RUN: no Python 3.10 or 3.11, for which the vendor's old numpy has wheels")
    return sys.executable


@pytest.fixture(scope="module")
def wheelhouse(tmp_path_factory, oldest) -> Path:
    folder = tmp_path_factory.mktemp("wheelhouse")
    version = run(oldest, "-c", "import sys; print('%d.%d' % sys.version_info[:2])").strip()
    run(
        ROOT / "tools" / "wheelhouse.sh", sys.executable, folder,
        env={**os.environ, "PYTHONS": version, "PLATFORMS": "x86_64"},
    )  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def image(tmp_path_factory, oldest) -> Path:
    """An environment as a vendor ships it."""
    folder = tmp_path_factory.mktemp("image")
    python = folder / "bin" / "python"
    run(oldest, "-m", "venv", folder)
    torch = stand_in_torch(folder)
    wanted = [f"{name}=={version}" for name, version in VENDOR.items() if name != "torch"]
    run(python, "-m", "pip", "install", "-q", torch, *wanted, "httpx<0.28", "setuptools")
    return python


def freeze(python: Path) -> dict[str, str]:
    script = "import importlib.metadata as m\nfor d in m.distributions(): print(d.name, d.version)"
    return dict(line.split(" ", 1) for line in run(python, "-c", script).splitlines())


def test_an_offline_install_leaves_the_vendors_packages_as_they_are(image, wheelhouse, tmp_path):
    before = freeze(image)
    constraints = tmp_path / "constraints.txt"
    constraints.write_text("".join(f"{name}=={version}\n" for name, version in VENDOR.items()))
    run(
        image, "-m", "pip", "install", "-q", "--no-index", "--find-links", wheelhouse,
        "-c", constraints, "flagos-eval",
    )  # fmt: skip
    after = freeze(image)
    assert {name: after[name] for name in before} == before
    assert "flagos-eval" in after or "flagos_eval" in after
    assert not {"vllm", "flag-gems", "lmms-eval"} & {name.replace("_", "-") for name in after}


def test_the_installed_command_runs_the_main_job_with_the_vendors_openai(image, tmp_path):
    command = image.with_name("flagos-eval")
    assert "mathvision" in run(command, "ls", "tasks", cwd="/")
    with ProtocolServer() as server:
        run(
            command, "run", "-t", "shapes", "-L", "20", "--base-url", server.url, "-q",
            "-o", "x.json", cwd=tmp_path,
        )  # fmt: skip
    assert "shapes" in run(command, "show", "x.json", cwd=tmp_path)


def test_an_sdist_builds_the_same_wheel(tmp_path, wheelhouse):
    run(sys.executable, "-m", "build", "-q", "--outdir", tmp_path, ROOT)
    (built,) = tmp_path.glob("*.whl")
    (direct,) = wheelhouse.glob("flagos_eval-*.whl")
    names = []
    for path in (built, direct):
        with zipfile.ZipFile(path) as wheel:
            names.append({n for n in wheel.namelist() if "dist-info" not in n})
    assert names[0] == names[1]
    assert "flagos_eval/tasks/mathvision.py" in names[0]


def test_the_wheelhouse_has_checksums(wheelhouse):
    run("sha256sum", "--check", "--quiet", "SHA256SUMS", cwd=wheelhouse)
