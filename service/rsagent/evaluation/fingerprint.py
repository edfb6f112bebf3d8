"""What rows depend on, so that rows of different weights, samples or budgets never mix in one report."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rsagent import segmenter as segmenter_package
from rsagent.evaluation.samples import Sample
from rsagent.policy.files import locate
from rsagent.settings import SegmenterSettings, Settings

OWN = Path(segmenter_package.__file__).parent / "weights"
"""The segmenter's weights in the package."""


def of_samples(samples: Sequence[Sample]) -> str:
    """Of the samples' ids, kinds and sentences, in order."""
    return _digest(f"{one.id}\0{one.kind}\0{one.query}" for one in samples)


def of_engines(settings: Settings) -> dict[str, Any]:
    """Of the policy and the segmenter that the settings name. Weights in files count by name, size and time."""
    policy, segmenter = settings.policy, settings.segmenter
    told: dict[str, Any] = {"policy": policy.kind, "segmenter": f"{segmenter.kind} {segmenter.variant}"}
    if policy.kind == "local":
        told["checkpoint"] = policy.local.checkpoint
        told["policy weights"] = _of_files(locate(policy.local.checkpoint, policy.local.revision).glob("*"))
    elif policy.kind == "openai":
        told["policy"] = f"{policy.openai.model or 'the model'} at {policy.openai.base_url}, {policy.openai.dialect}"
    else:
        told["policy"] = f"vllm {policy.vllm.model_dump_json()}"
    told["segmenter weights"] = _segmenter_weights(segmenter)
    return told


def _segmenter_weights(segmenter: SegmenterSettings) -> str:
    if segmenter.path is None:
        return _of_files(OWN.glob(f"{segmenter.variant}.*"))
    return _of_files([Path(segmenter.path)]) if Path(segmenter.path).is_file() else segmenter.path


def _of_files(files: Iterable[Path]) -> str:
    states = ((path.name, path.stat()) for path in sorted(files) if path.is_file())
    return _digest(f"{name} {state.st_size} {state.st_mtime_ns}" for name, state in states)


def _digest(parts: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode("utf-8", "surrogatepass") + b"\n")
    return digest.hexdigest()[:16]
