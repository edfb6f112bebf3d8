"""The GPU measurements, on the processor and at tiny sizes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from loadtests import __main__ as cli
from loadtests import gpu
from loadtests.bench import forcing
from tests.segmenter.tiny import tiny_model
from typer.testing import CliRunner

from rsagent.policy import batch, openai
from rsagent.policy.protocol import ViewSpec
from rsagent.segmenter.core import SamCore

CPU = torch.device("cpu")
VIEW = ViewSpec(max_pixels=56 * 56, factor=28)
TINY = gpu.Size(
    "tiny",
    {
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "intermediate_size": 96,
        "vocab_size": 16384,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [4, 2, 2]},
    },
    {
        "depth": 2,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_heads": 2,
        "window_size": 56,
        "fullatt_block_indexes": [1],
    },
)


@pytest.fixture
def seams(monkeypatch: pytest.MonkeyPatch) -> None:
    """What `forcing.install` sets is taken back at the end."""
    for module, name in ((batch, "Sampler"), (openai, "request_body")):
        monkeypatch.setattr(module, name, getattr(module, name))
    monkeypatch.setattr(forcing, "uploads", forcing.Uploads())


@pytest.mark.usefixtures("seams")
async def test_a_policy_is_measured_by_the_service_s_own_code(tmp_path: Path) -> None:
    checkpoint = gpu.random_checkpoint(TINY, CPU, torch.bfloat16, VIEW)
    assert {each.dtype for each in checkpoint.model.parameters()} == {torch.bfloat16}
    assert torch.get_default_dtype() == torch.float32
    rows = await gpu.policy(checkpoint, gpu.conversations(VIEW, 2, tmp_path), 2)
    assert [row.unit for row in rows] == ["tokens"] * 3
    assert all(row.rate > 0 for row in rows)
    width, inner, layers = 64, 96, 2
    layer = width * (2 * width + 2 * width // 2) + 3 * width * inner  # of attention two heads of four are shared
    assert rows[0].flops == pytest.approx(2 * (layers * layer + 16384 * width), rel=0.01)


@pytest.mark.parametrize("half", [True, False])
def test_a_segmenter_is_measured_alone_and_batched(half: bool) -> None:
    flops, decoding = gpu.encoder_flops(SamCore(tiny_model())), gpu.decoder_flops(SamCore(tiny_model()))
    assert flops > 1e6
    assert decoding > 1e5
    rows = gpu.segmenter("tiny", SamCore(tiny_model(), half=half), CPU, 2, 0.0, flops, decoding)
    assert [row.flops for row in rows] == [flops, flops, decoding, decoding]
    assert [row.unit for row in rows] == ["images", "images", "prompts", "prompts"]
    assert all(row.rate > 0 for row in rows)
    share = rows[0].share(peak := gpu.peak(CPU, torch.float32, 64, 0.0))
    assert share is not None
    assert share == pytest.approx(rows[0].rate * (rows[0].flops or 0) / peak)
    assert gpu.table(rows, 1e9).row_count == 4


def test_the_published_sizes_are_those_of_the_models() -> None:
    for name, billions in (("3b", 3.75), ("7b", 8.29)):
        assert gpu.POLICIES[name].text["hidden_size"] % gpu.POLICIES[name].text["num_attention_heads"] == 0
        with torch.device("meta"):
            model = _shape(gpu.POLICIES[name])
        assert sum(each.numel() for each in model.parameters()) / 1e9 == pytest.approx(billions, rel=0.1)


def _shape(size: gpu.Size) -> torch.nn.Module:
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    vision = size.vision | {"out_hidden_size": size.text["hidden_size"]}
    model: torch.nn.Module = Qwen2_5_VLForConditionalGeneration(
        Qwen2_5_VLConfig(text_config=size.text, vision_config=vision)
    )
    return model


def test_the_command_says_what_it_does_not_know_and_where_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    runner = CliRunner()
    assert "vit_x" in runner.invoke(cli.app, ["gpu", "--segmenters", "vit_x"]).output
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "no GPU here" in " ".join(runner.invoke(cli.app, ["gpu"]).output.split())


@pytest.mark.slow
@pytest.mark.usefixtures("seams")
def test_the_command_writes_what_it_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "SECONDS", 0.0)
    out = tmp_path / "gpu.json"
    words = ["gpu", "--device", "cpu", "--segmenters", "nano", "--policies", "", "--batch", "2", "--out", str(out)]
    done = CliRunner().invoke(cli.app, words)
    assert done.exit_code == 0, done.output
    found = json.loads(out.read_text())
    assert found["card"] == "CPU"
    assert len(found["rows"]) == 4
