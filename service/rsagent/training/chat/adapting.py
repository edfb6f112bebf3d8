"""Which weights are trained: all, the language model's, or low-rank additions to them."""

from __future__ import annotations

import warnings
from typing import Any, Literal, cast

from torch import Tensor

Part = Literal["language", "layers", "all", "lora"]

LORA_LAYERS = r".*language_model.*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"


def adapt(model: Any, part: Part, rank: int = 16) -> Any:
    """Let `part` of a Qwen-VL model learn and nothing else; the model to train and to export.

    "language" leaves the vision tower as it is, "layers" the words' embeddings, too (those of rare words take a step of
    full size from each sample that has them, however little it tells); "lora" leaves all weights as they are and adds
    matrices of `rank` to the language model's (peft, scaled by 2; into the layers themselves, so that whoever holds
    `model` uses them, too).
    """
    model.requires_grad_(part == "all")
    if part == "language":
        model.model.language_model.requires_grad_(True)
    if part == "layers":
        model.model.language_model.layers.requires_grad_(True)
    if part != "lora":
        return model
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=LORA_LAYERS, task_type="CAUSAL_LM")
    with warnings.catch_warnings():  # peft 0.21 asks transformers 5.23 by a name that is going
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
        return get_peft_model(model, config)


def learning(model: Any) -> dict[str, Tensor]:
    """The parameters that learn, by name: what a checkpoint of a run has to hold."""
    named = cast("list[tuple[str, Tensor]]", list(model.named_parameters()))
    return {name: parameter for name, parameter in named if parameter.requires_grad}
