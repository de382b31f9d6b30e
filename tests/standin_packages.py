"""Stand-ins for the packages ``flag_gems`` and ``vllm``, as far as switching operators meets them.

FlagGems 5.0.2: functions that say on their own logger that they run, ``enable``, ``only_enable``
and ``all_registered_ops``, unknown names ignored, a table that can be read without importing it.
vLLM: ``load_general_plugins``, and the wrapper around a worker whose ``init_device`` gives it a
device. Nothing is computed: a registered function that the engine would call is called."""

from __future__ import annotations

import textwrap
from pathlib import Path

OPERATORS = {
    "add": "add.Tensor",
    "addmm": "addmm",
    "addmm_out": "addmm.out",
    "exp": "exp",
    "index": "index.Tensor",
    "mean_dim": "mean.dim",
    "mm": "mm",
    "mul": "mul.Tensor",
    "pow_tensor_scalar": "pow.Tensor_Scalar",
    "rsqrt": "rsqrt",
    "softmax": "_softmax",
    "tanh": "tanh",
}
"""FlagGems' function -> torch's name."""

_FUNCTION = """
import logging
{imports}
logger = logging.getLogger(__name__)

def {name}(*arguments):
    logger.debug("GEMS {upper}")
    {body}
"""
_HELPED = """
import logging
logger = logging.getLogger(__name__)

def general_mm():
    logger.debug("GEMS MM")

def mm(*arguments):
    general_mm()
"""
_BOTH = """
import logging
logger = logging.getLogger(__name__)

def mean_dim_comm():
    logger.debug("GEMS MEAN_DIM_COMM")

def mean_dim(*arguments):
    logger.debug("GEMS MEAN_DIM")
    mean_dim_comm()
"""
_INIT = """
from flag_gems.ops import *
import logging

__version__ = "5.0.2"
vendor_name = "nvidia"
_FULL_CONFIG = (
{config}
)
FULL_CONFIG_BY_FUNC = {{}}
for _item in _FULL_CONFIG:
    FULL_CONFIG_BY_FUNC.setdefault(_item[1].__name__, []).append(_item)
library = {{}}
"What torch would call, by its own name."


def _register(items):
    import os
    broken = os.environ.get("STANDIN_GEMS_BROKEN", "").split(",")
    library.update({{key: fn for key, fn in items if fn.__name__ not in broken}})


def enable(lib=None, unused=None, registrar=None, record=False, once=False, path=None):
    _register(item for item in _FULL_CONFIG if item[1].__name__ not in (unused or []))


def only_enable(lib=None, include=None, registrar=None, record=False, once=False, path=None):
    _register(item for name in include for item in FULL_CONFIG_BY_FUNC.get(name, []))


def all_registered_ops():
    return [fn.__name__ for fn in library.values()]
"""
_CONFIG = """
def resolve_user_setting(user_setting_info, user_setting_type="include"):
    assert (user_setting_info, user_setting_type) == (None, "exclude")
    return ["tanh"]
"""
_PLUGINS = """
import os
from importlib.metadata import entry_points

plugins_loaded = False


def load_general_plugins():
    global plugins_loaded
    if plugins_loaded:
        return
    plugins_loaded = True
    allowed = os.environ.get("VLLM_PLUGINS")
    found = {}
    for plugin in entry_points(group="vllm.general_plugins"):
        # The package itself is installed where tests run, and not beside a vendor's vLLM.
        if plugin.value.startswith("flagos_eval."):
            continue
        if allowed is None or plugin.name in allowed.split(","):
            found[plugin.name] = plugin.load()
    for function in found.values():
        function()
"""
_WORKER = """
class Worker:
    rank = 0

    def init_device(self):
        self.device = "cuda:0"


class WorkerWrapperBase:
    def __init__(self, rpc_rank=0):
        self.rpc_rank = rpc_rank

    def init_worker(self):
        from vllm.plugins import load_general_plugins
        load_general_plugins()
        self.worker = Worker()
{wrapped}
    def __getattr__(self, name):
        return getattr(self.worker, name)
"""
_WRAPPED = """
    def init_device(self):
        self.worker.init_device()
"""


def put_packages(folder: Path, *, old: bool = False) -> Path:
    """Both packages below `folder`, which PYTHONPATH then names.

    Args:
        folder: Where they go.
        old: vLLM before 0.8, whose wrapper hands ``init_device`` on.
    """
    ops = folder / "flag_gems" / "ops"
    for name in OPERATORS:
        inner = "from flag_gems.ops.exp import exp" if name == "softmax" else ""
        body = "exp()" if name == "softmax" else "return None"
        text = _FUNCTION.format(name=name, upper=name.upper(), imports=inner, body=body)
        _write(ops / f"{name}.py", text)
    _write(ops / "mm.py", _HELPED)
    _write(ops / "mean_dim.py", _BOTH)
    _write(ops / "__init__.py", "".join(f"from .{n} import {n}\n" for n in OPERATORS))
    config = "".join(f"    ({key!r}, {name}),\n" for name, key in OPERATORS.items())
    _write(folder / "flag_gems" / "__init__.py", _INIT.format(config=config))
    _write(folder / "flag_gems" / "config.py", _CONFIG)
    _write(folder / "flag_gems-5.0.2.dist-info" / "METADATA",
           "Metadata-Version: 2.1\nName: flag_gems\nVersion: 5.0.2\n")  # fmt: skip
    _write(folder / "vllm" / "plugins" / "__init__.py", _PLUGINS)
    home = "worker" if old else "v1/worker"
    _write(folder / "vllm" / "__init__.py",
           f"from .{home.replace('/', '.')}.worker_base import WorkerWrapperBase\n")  # fmt: skip
    worker = _WORKER.format(wrapped="" if old else _WRAPPED)
    _write(folder / "vllm" / home / "worker_base.py", worker)
    if old:
        _write(folder / "vllm" / home / "worker.py", "from .worker_base import Worker\n")
    return folder


def put_plugin_fl(folder: Path) -> Path:
    """vllm-plugin-FL's metadata and its configuration of two platforms."""
    _write(folder / "vllm_fl" / "__init__.py", "")
    configuration = folder / "vllm_fl" / "dispatch" / "config"
    listed = "prefer: flagos\nflagos_blacklist:\n  - exp\n  - tanh\nop_backends:\n  x: [y]\n"
    _write(configuration / "metax.yaml", listed)
    _write(configuration / "nvidia.yaml", "prefer: flagos\n# flagos_blacklist:\n")
    _write(folder / "vllm_plugin_fl-0.2.0.dist-info" / "METADATA",
           "Metadata-Version: 2.1\nName: vllm-plugin-fl\nVersion: 0.2.0\n")  # fmt: skip
    return folder


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text) if text.startswith("\n") else text, "utf-8")


ON_A_CPU = {"cos": "cos", "sin": "sin", "tan": "tan"}
_REAL = """
import logging
import torch

logger = logging.getLogger(__name__)


def make(name, key):
    kernel = torch.library.get_kernel("aten::" + key, "CPU")

    def function(keyset, *arguments, **keywords):
        logger.debug("GEMS " + name)
        return kernel.call_boxed(keyset, *arguments, **keywords)

    function.__code__ = function.__code__.replace(co_name=name)
    function.__name__ = name
    return function
"""
_REAL_INIT = """
import torch
from flag_gems.ops import make

__version__ = "5.0.2"
vendor_name = "stand-in"
{names}
_FULL_CONFIG = (
{config}
)
FULL_CONFIG_BY_FUNC = {{item[1]: [item] for item in _FULL_CONFIG}}
library = torch.library.Library("aten", "IMPL")
registered = []


def only_enable(include):
    for name in include:
        for key, function in FULL_CONFIG_BY_FUNC[name]:
            library.impl(key, make(function, key), "CPU", with_keyset=True)
            registered.append(function)


def enable(unused=None):
    only_enable([name for name in FULL_CONFIG_BY_FUNC if name not in (unused or [])])


def all_registered_ops():
    return registered
"""


def put_real_flag_gems(folder: Path) -> Path:
    """A ``flag_gems`` that registers functions with torch, for a CPU, where FlagGems has none.

    Each says that it runs, as FlagGems' do, and then calls torch's own kernel: answers stay what
    they are."""
    _write(folder / "flag_gems" / "ops.py", _REAL)
    names = "".join(f"{name} = {name!r}\n" for name in ON_A_CPU)
    config = "".join(f"    ({key!r}, {name}),\n" for name, key in ON_A_CPU.items())
    text = _REAL_INIT.format(names=names, config=config)
    _write(folder / "flag_gems" / "__init__.py", text)
    _write(folder / "flag_gems-5.0.2.dist-info" / "METADATA",
           "Metadata-Version: 2.1\nName: flag_gems\nVersion: 5.0.2\n")  # fmt: skip
    return folder
