"""What would serve: vLLM, FlagScale or an image; torch and FlagGems below it.

They are imported here, in the server's interpreter, because that is where hours get lost."""

from __future__ import annotations

import json
import re
import subprocess

from ..errors import UsageError
from ..launchers import _docker, flagscale
from ..operators import installed, selection, switch
from ..platforms import _software
from ..platforms._tool import ToolPlatform
from .base import Finding, Patient, call, last_line, ok, skipped

_IMPORT_TIMEOUT = 600.0


def _marked(done: subprocess.CompletedProcess[str]) -> str | None:
    """What our script said, among the lines that imports print."""
    found = re.search(r"(?m)^FLAGOS_EVAL (.*)$", done.stdout)
    return found[1] if found else None


def engine(patient: Patient) -> Finding:
    """Whether what would serve is here and can be imported."""
    if patient.config.launcher is None and not patient.config.base_url:
        return Finding(
            "engine",
            "failed",
            "neither flagscale nor vLLM is here, and no image or server was named",
            "--server-python or --image to start a server here; --base-url of one that runs",
        )
    if patient.starts is None:
        return skipped("engine", "no engine is started here")
    if patient.starts == "docker":
        return _image(patient)
    if patient.starts == "flagscale" and flagscale.executable(patient.config.server_python) is None:
        return Finding(
            "engine",
            "failed",
            "there is no flagscale on the path",
            "--server-python names the interpreter of its environment; or --launcher vllm",
        )
    script = "import vllm; print('FLAGOS_EVAL', vllm.__version__)"
    done = call([patient.python, "-c", script], _IMPORT_TIMEOUT)
    version = _marked(done)
    if version is None:
        return Finding(
            "engine",
            "failed",
            f"vLLM cannot be imported by {patient.python}: {last_line(done)}",
            "--server-python names the interpreter of an environment in which vLLM works",
        )
    return ok("engine", f"vLLM {version}")


def _image(patient: Patient) -> Finding:
    if patient.config.image is None:
        return Finding("engine", "failed", "no image was named", "--image REPOSITORY:TAG")
    found = _docker.call(["image", "inspect", patient.config.image], _docker.TIMEOUT)
    if found.returncode == 0:
        digests = _docker.described(found, "the image").get("RepoDigests") or ["no digest"]
        return ok("engine", f"{patient.config.image} is here ({digests[0]})")
    if "no such image" in found.stderr.lower():
        return Finding(
            "engine",
            "failed",
            f"{patient.config.image} is not here",
            f"docker pull {patient.config.image}; a run would pull it, too",
        )
    return Finding(
        "engine",
        "failed",
        f"docker cannot be used: {_docker.said(found)}",
        "is its daemon running, and may this user talk to it? docker info",
    )


def torch(patient: Patient) -> Finding:
    """Whether torch was built for this vendor; several vendors' answer to ``torch.cuda``."""
    if patient.starts in (None, "docker"):
        return skipped("torch", "not of an interpreter here")
    versions = _software.packages(patient.python)
    if "torch" not in versions:
        return Finding(
            "torch",
            "failed",
            f"{patient.python} has no torch",
            "install the vendor's own build, not the one of the public index",
        )
    build = _software.torch_build(versions)
    tags = patient.platform.torch_tags if isinstance(patient.platform, ToolPlatform) else ()
    if build and tags and not build.startswith(tags):
        return Finding(
            "torch",
            "failed",
            f"torch {versions['torch']} is built for {build}, the machine is "
            f"{patient.platform.name}",
            "install the vendor's build of torch",
        )
    return ok("torch", versions["torch"])


def flag_gems(patient: Patient) -> Finding:
    """Whether FlagGems, if it is here, takes the machine for what it is."""
    if patient.starts in (None, "docker"):
        return skipped("flag gems", "not of an interpreter here")
    if patient.config.flag_gems is not None:
        refused = _refused(patient, patient.config.flag_gems)
        if refused is not None:
            return refused
    if "flag-gems" not in _software.packages(patient.python):
        return skipped("flag gems", "not installed; only runs with its operators need it")
    script = (
        "import flag_gems, json; print('FLAGOS_EVAL', json.dumps("
        "[flag_gems.__version__, getattr(flag_gems, 'vendor_name', None)]))"
    )
    done = call([patient.python, "-c", script], _IMPORT_TIMEOUT)
    said = _marked(done)
    if said is None:
        return Finding(
            "flag gems",
            "failed",
            f"FlagGems cannot be imported: {last_line(done)}",
            "its version must fit torch and triton; GEMS_VENDOR names the vendor where it "
            "finds none",
        )
    version, vendor = json.loads(said)
    wanted = switch.vendor(patient.platform.name)
    if None not in (vendor, wanted) and vendor != wanted:
        return Finding(
            "flag gems",
            "failed",
            f"FlagGems {version} takes this machine for {vendor}",
            f"--env GEMS_VENDOR={wanted}: another vendor's kernels would run",
        )
    return ok("flag gems", f"{version}, vendor {vendor or 'not stated'}")


def _refused(patient: Patient, which: str) -> Finding | None:
    """What is wrong with ``--flag-gems`` here: an operator that is not there, above all."""
    flagscales = patient.starts == "flagscale"
    python = flagscale.interpreter(patient.python) if flagscales else patient.python
    try:
        switch.switch(
            selection.parse(which),
            installed.of(python),
            engine="flagscale" if flagscales else "vllm",
            platform=patient.platform.name,
        )
    except UsageError as error:
        return Finding("flag gems", "failed", error.message, error.hint)
    return None
