"""Make `import torchvision` work beside a CPU build of torch.  Call `prepare()` before the first import of it.

Why: the torchvision wheel of the public index is linked against the CUDA build of torch.  Beside a CPU torch its C
library does not load, so its operators are never declared, and `torchvision._meta_registrations` fails at import
with "operator torchvision::nms does not exist".  `segment_anything` and the Qwen-VL image processors of transformers
import torchvision for its transforms alone, which need none of those operators: declaring the schemas is enough.
Calling one of them still fails with torch's own "no kernel" message, as it should.

Exit condition: delete this module, and the calls of `prepare`, once torchvision's wheel loads beside a CPU torch
(`python -c "import torchvision"` succeeds on its own in the locked environment).
"""

import torch

SCHEMAS = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}

# A torch.library.Library takes its definitions back when it is collected, so the fragment lives as long as the process.
_declared: list[torch.library.Library] = []


def prepare() -> None:
    """Declare the operators that torchvision's Python side expects, where its C library has not.  Idempotent."""
    missing = [schema for name, schema in SCHEMAS.items() if not _exists(name)]
    if not missing:
        return
    library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for schema in missing:
        library.define(schema)  # type: ignore[no-untyped-call]
    _declared.append(library)


def _exists(name: str) -> bool:
    return hasattr(torch.ops.torchvision, name)
