"""A stand-in for vLLM's engine process: loads plug-ins, starts a worker, calls some operators.

The packages are those of ``standin_packages``. ``USE_FLAGGEMS`` switches FlagGems on as FlagScale's
vLLM does. ``STANDIN_GEMS`` chooses what goes wrong: ``fallback``, ``leak``,
``leak-later`` or ``crash``."""

from __future__ import annotations

import importlib.util
import os
import sys
import time

CALLED = ("index.Tensor", "pow.Tensor_Scalar", "mean.dim", "add.Tensor", "rsqrt", "mul.Tensor")
"""Of torch, in this order, before a model answers; then some more."""
LATER = ("mm", "_softmax", "addmm")


def main() -> None:
    wrong = os.environ.get("STANDIN_GEMS", "")
    from vllm import WorkerWrapperBase
    from vllm.plugins import load_general_plugins

    load_general_plugins()
    wrapper = WorkerWrapperBase()
    wrapper.init_worker()
    wrapper.init_device()
    if importlib.util.find_spec("vllm_fl") is not None:
        plugin_fl()
        serve(wrong)
        return
    own = os.environ.get("USE_FLAGGEMS", "0").lower() in ("1", "true") or wrong == "leak"
    if own and wrong == "fallback":
        say("WARNING Failed to enable 'flag_gems': no vendor. Falling back to default ops.")
    elif own:
        import flag_gems

        flag_gems.enable()
        say("INFO Successfully enabled flag_gems as default ops implementation.")
    serve(wrong)


def plugin_fl() -> None:
    """vllm-plugin-FL's worker: on unless it is switched off, one list or the other, and its own
    list only where no variable replaces it."""
    if "fl" not in os.environ.get("VLLM_PLUGINS", "fl").split(","):
        return
    if os.environ.get("USE_FLAGGEMS", "true").lower() not in ("1", "true"):
        return
    import flag_gems

    allowed, left_out = (
        os.environ.get(f"VLLM_FL_FLAGOS_{kind}LIST", "") for kind in ("WHITE", "BLACK")
    )
    if allowed and left_out:
        raise ValueError("VLLM_FL_FLAGOS_WHITELIST and VLLM_FL_FLAGOS_BLACKLIST are both set")
    if allowed:
        flag_gems.only_enable(include=allowed.split(","))
    else:
        flag_gems.enable(unused=left_out.split(",") if left_out else ["exp", "tanh"])


def serve(wrong: str) -> None:
    """Call operators until it is ended."""
    call(CALLED)
    if wrong == "crash":
        say("RuntimeError: Triton Error [CUDA]: an illegal memory access was encountered")
        sys.exit(1)
    call(LATER)
    say("ready")
    sys.stdin.readline()  # it is asked
    if wrong == "leak-later":
        import flag_gems

        flag_gems.enable()
        call(LATER)
    time.sleep(600)


def call(names: tuple[str, ...]) -> None:
    """What torch's dispatcher would call."""
    gems = sys.modules.get("flag_gems")
    for name in names:
        function = gems.library.get(name) if gems is not None else None
        if function is not None:
            function()


def say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    main()
