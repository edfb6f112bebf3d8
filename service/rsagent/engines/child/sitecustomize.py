"""Read by every interpreter of a vLLM child before anything else (its PYTHONPATH names this folder).

It does in vLLM's own environment what `rsagent._torchvision` does in ours: torchvision's wheel of the public index does
not load beside a CPU torch until its operators are declared. torch is imported only where torchvision is about to be,
so that helpers of vLLM which need neither stay light. Standard library only: rsagent is not installed there.

Exit condition: that of `rsagent._torchvision`.
"""

import importlib.abc
import importlib.util
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

SHIM = Path(__file__).resolve().parents[2] / "_torchvision.py"


class DeclareFirst(importlib.abc.MetaPathFinder):
    """Finds nothing; declares the operators when torchvision is first looked for, then steps aside."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname == "torchvision":
            sys.meta_path.remove(self)
            _declare()
        return None


def _declare() -> None:
    spec = importlib.util.spec_from_file_location("_rsagent_torchvision", SHIM)
    assert spec is not None, "a .py file always has a loader"
    assert spec.loader is not None, "a .py file always has a loader"
    module = importlib.util.module_from_spec(spec)
    # Registered, so that the operators' library lives as long as the process.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    module.prepare()


sys.meta_path.insert(0, DeclareFirst())
