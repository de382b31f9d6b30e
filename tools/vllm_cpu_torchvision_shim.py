"""Let the registry's torchvision be imported beside a CPU build of PyTorch.

The torchvision wheels of the package registry are built for CUDA. Their compiled library does not
load beside a CPU-only PyTorch, so the operators it would register are unknown, and the Python side
of torchvision dies at import (``operator torchvision::nms does not exist``). The model server only
needs torchvision's image transforms, which are written in plain PyTorch. This module declares the
*schemas* of the missing operators just before torchvision is first imported. Nobody calls them
here, and a call would fail loudly, because no implementation is registered.

``vllm_cpu_env.sh`` copies this file into the test environment, next to a ``.pth`` file that calls
:func:`install` at interpreter start. It belongs in that environment only, never in the package.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
from collections.abc import Sequence
from types import ModuleType

# Copied from the operator registrations of torchvision 0.28 (torchvision/csrc/ops/*.cpp).
_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "roi_align(Tensor input, Tensor rois, float spatial_scale, SymInt pooled_height, "
    "SymInt pooled_width, int sampling_ratio, bool aligned) -> Tensor",
    "_roi_align_backward(Tensor grad, Tensor rois, float spatial_scale, SymInt pooled_height, "
    "SymInt pooled_width, SymInt batch_size, SymInt channels, SymInt height, SymInt width, "
    "int sampling_ratio, bool aligned) -> Tensor",
    "ps_roi_align(Tensor input, Tensor rois, float spatial_scale, SymInt pooled_height, "
    "SymInt pooled_width, int sampling_ratio) -> (Tensor, Tensor)",
    "_ps_roi_align_backward(Tensor grad, Tensor rois, Tensor channel_mapping, "
    "float spatial_scale, SymInt pooled_height, SymInt pooled_width, int sampling_ratio, "
    "SymInt batch_size, SymInt channels, SymInt height, SymInt width) -> Tensor",
    "roi_pool(Tensor input, Tensor rois, float spatial_scale, SymInt pooled_height, "
    "SymInt pooled_width) -> (Tensor, Tensor)",
    "_roi_pool_backward(Tensor grad, Tensor rois, Tensor argmax, float spatial_scale, "
    "SymInt pooled_height, SymInt pooled_width, SymInt batch_size, SymInt channels, "
    "SymInt height, SymInt width) -> Tensor",
    "ps_roi_pool(Tensor input, Tensor rois, float spatial_scale, SymInt pooled_height, "
    "SymInt pooled_width) -> (Tensor, Tensor)",
    "_ps_roi_pool_backward(Tensor grad, Tensor rois, Tensor channel_mapping, "
    "float spatial_scale, SymInt pooled_height, SymInt pooled_width, SymInt batch_size, "
    "SymInt channels, SymInt height, SymInt width) -> Tensor",
    "deform_conv2d(Tensor input, Tensor weight, Tensor offset, Tensor mask, Tensor bias, "
    "SymInt stride_h, SymInt stride_w, SymInt pad_h, SymInt pad_w, SymInt dilation_h, "
    "SymInt dilation_w, SymInt groups, SymInt offset_groups, bool use_mask) -> Tensor",
    "_deform_conv2d_backward(Tensor grad, Tensor input, Tensor weight, Tensor offset, "
    "Tensor mask, Tensor bias, SymInt stride_h, SymInt stride_w, SymInt pad_h, SymInt pad_w, "
    "SymInt dilation_h, SymInt dilation_w, SymInt groups, SymInt offset_groups, bool use_mask) "
    "-> (Tensor, Tensor, Tensor, Tensor, Tensor)",
)

# torch.library forgets a fragment's definitions when its object is collected.
_kept: list[object] = []


def _define_missing_operators() -> None:
    """Declare the operators that the compiled half of torchvision would have registered."""
    import torch

    if torch.version.cuda is not None:
        return  # a CUDA build loads the compiled half itself
    library = torch.library.Library("torchvision", "FRAGMENT")
    for schema in _SCHEMAS:
        library.define(schema)
    _kept.append(library)


class _BeforeTorchvision(importlib.abc.MetaPathFinder):
    """Finds nothing; being asked for ``torchvision`` is the signal to declare its operators."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,
    ) -> importlib.machinery.ModuleSpec | None:
        """Declare the operators once, then let the ordinary finders answer."""
        if fullname == "torchvision" and not _kept:
            # importlib.util.find_spec("torchvision") asks here too, without importing anything.
            # Declaring early then costs an import of torch and does no harm.
            sys.meta_path.remove(self)
            _define_missing_operators()
        return None


def install() -> None:
    """Put the hook first, so that it is asked before torchvision's own files are found."""
    if not any(isinstance(finder, _BeforeTorchvision) for finder in sys.meta_path):
        sys.meta_path.insert(0, _BeforeTorchvision())
