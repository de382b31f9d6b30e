"""A stand-in for ``flagscale serve``, as FlagScale's source has it: 1.0, or 0.8 with
``STANDIN_FLAGSCALE=old``. It resolves two files, writes a script that starts the engine in the
background, writes its process id and appends its output to a log, and ends with 0 in any case.

What a launcher can fall over is reproduced: ``use_fs_serve`` is on unless it is switched off,
nested arguments lose their outer key, ``false`` is dropped, variables are pasted without quotes,
and a missing file is a message and status 0."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

ENGINE = """
import subprocess, sys
command = {command!r}
print("[Serve]: Starting vllm serve with command: " + " ".join(command), flush=True)
process = subprocess.Popen(command, stdout=sys.stdout, stderr=sys.stderr)
process.communicate()
print(f"[Serve]: vllm serve exited with return code: {{process.returncode}}", flush=True)
"""


def flatten(arguments: dict) -> list[str]:
    """Engine arguments as FlagScale puts them on a command line."""
    found: list[str] = []
    for name, value in arguments.items():
        flag = f"--{name.replace('_', '-')}"
        if isinstance(value, dict):
            found += flatten(value)
        elif isinstance(value, list):
            found += [flag, *map(str, value)]
        elif isinstance(value, bool):
            found += [flag] if value else []
        else:
            found += [flag, str(value)]
    return found


def resolve(node: Any) -> Any:
    """What OmegaConf makes of a document: ``${`` asks for another value, unless it is escaped."""
    if isinstance(node, dict):
        return {key: resolve(value) for key, value in node.items()}
    if isinstance(node, list):
        return [resolve(value) for value in node]
    if isinstance(node, str):
        if "${" in node.replace("\\${", ""):
            raise KeyError(f"Interpolation key not found in {node!r}")
        return node.replace("\\${", "${")
    return node


def main(arguments: list[str]) -> int:
    """``serve NAME -c FILE``, or ``serve NAME FILE`` of old."""
    old = os.environ.get("STANDIN_FLAGSCALE") == "old"
    if arguments == ["serve", "--help"]:
        config = "" if old else "  -c, --config PATH  Configuration file\n  --stop\n"
        print(f"Usage: flagscale serve [OPTIONS] MODEL_NAME\n{config}  -h, --help")
        return 0
    command, name, *rest = arguments
    assert command == "serve"
    if rest[:1] == ["-c"]:
        if old:
            print("Usage: flagscale serve\nError: No such option: -c", file=sys.stderr)
            return 2
        rest = rest[1:]
    path = Path(rest[0]) if rest else Path("examples", name, "conf", "serve.yaml")
    if not path.exists():
        print(f"Error: The yaml {path} does not exist.", file=sys.stderr)
        return 0
    if os.environ.get("STANDIN_FLAGSCALE") == "nothing":
        print("Error: The yaml in the image does not exist.", file=sys.stderr)
        return 0
    config = resolve(yaml.safe_load(path.read_text()))
    (group,) = [entry["serve"] for entry in config["defaults"] if isinstance(entry, dict)]
    served = resolve(yaml.safe_load((path.parent / "serve" / f"{group}.yaml").read_text()))
    start(config["experiment"], served[0])
    return 0


def start(experiment: dict, item: dict) -> None:
    """Write what FlagScale writes, and run it."""
    where = experiment["deploy"] if "deploy" in experiment else experiment["runner"]["deploy"]
    if where.get("use_fs_serve", True):
        sys.exit("this stand-in knows no Ray")
    logs = Path(experiment["exp_dir"]) / "serve_logs"
    scripts, pids = logs / "scripts", logs / "pids"
    scripts.mkdir(parents=True, exist_ok=True)
    resolved = {"experiment": experiment, "serve": [item]}
    (scripts / "serve.yaml").write_text(yaml.safe_dump(resolved))
    arguments = dict(item["engine_args"])
    command = ["vllm", "serve", str(arguments.pop("model")), *flatten(arguments)]
    engine = scripts / "run_inference_engine.py"
    engine.write_text(ENGINE.format(command=command))
    variables = {k: v for k, v in experiment.get("envs", {}).items() if k != "nodes_envs"}
    # Without quotes: the shell sees what is in them.
    line = " ".join([*(f"{k}={v}" for k, v in variables.items()), "python", str(engine)])
    root = os.environ.get("STANDIN_ROOT", str(Path(__file__).parent))
    old = os.environ.get("STANDIN_FLAGSCALE") == "old"
    search = root if old else "${PYTHONPATH:-}:" + root
    output, pid = logs / "host_0_localhost.output", pids / "host_0_localhost.pid"
    script = scripts / "host_0_localhost_run.sh"
    script.write_text(
        "#!/bin/bash\n\nset -x\n"
        f"{experiment.get('cmds', {}).get('before_start', '')}\n"
        f"export PYTHONPATH={search}\n"
        + " && ".join(f"export {k}={v}" for k, v in variables.items())
        + f"\nmkdir -p {logs}\nmkdir -p {pids}\n"
        f'cmd="{line}"\n'
        "echo '=========== launch task ==========='\n"
        f'nohup bash -c "$cmd; sync" >> {output} 2>&1 & echo $! > {pid}\n'
    )
    subprocess.run(f"bash {script}", shell=True, check=True, capture_output=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
