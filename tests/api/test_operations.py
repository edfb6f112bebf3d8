from __future__ import annotations

import asyncio

from prometheus_client.parser import text_string_to_metric_families
from tests.api.stage import FINISH, SEGMENT, Cast, call, on_stage

from rsagent.policy.fake import ScriptedPolicy


class Slow(ScriptedPolicy):
    """A policy that does not say whether it is ready."""

    async def ready(self) -> bool:
        await asyncio.sleep(60)
        return True


async def test_alive_and_ready() -> None:
    async with on_stage() as stage:
        assert (await stage.client.get("/livez")).json() == {"status": "alive"}
        ready = await stage.client.get("/readyz")
    assert ready.status_code == 200
    assert ready.json().items() >= {"status": "ready", "policy": True, "segmenter": True}.items()


async def test_one_engine_down_is_unready_but_alive() -> None:
    async with on_stage() as stage:
        stage.segmenter.healthy = False
        ready = await stage.client.get("/readyz")
        assert (await stage.client.get("/livez")).status_code == 200
    assert ready.status_code == 503
    assert ready.json().items() >= {"status": "unready", "policy": True, "segmenter": False}.items()


async def test_an_engine_that_does_not_answer_is_unready() -> None:
    async with on_stage(Cast(policy=Slow([FINISH]))) as stage:
        ready = await stage.client.get("/readyz")
    assert (ready.status_code, ready.json()["policy"]) == (503, False)


NAMES = {
    "rsagent_requests",
    "rsagent_request_seconds",
    "rsagent_time_to_first_mask_seconds",
    "rsagent_turns",
    "rsagent_turn_seconds",
    "rsagent_tool_calls",
    "rsagent_malformed",
    "rsagent_stop",
    "rsagent_inflight",
    "rsagent_queue_depth",
    "rsagent_rejected",
    "rsagent_cancelled",
    "rsagent_policy_tokens",
    "rsagent_embedding_cache",
    "rsagent_segmenter_batch_size",
    "rsagent_image_bytes_sent",
}


async def test_metrics_have_the_names_of_the_design_and_count() -> None:
    script = ("nonsense", SEGMENT, SEGMENT, call("segment", bbox_2d=[0, 0, 500, 500]), FINISH)
    async with on_stage(Cast(script)) as stage:
        await stage.post()
        response = await stage.client.get("/metrics")
        families = {family.name for family in text_string_to_metric_families(response.text)}
        assert families >= NAMES
        assert all("scripted" not in family for family in families)
        assert stage.metric("requests_total", outcome="segmented") == 1
        assert stage.metric("turns_sum") == 5
        assert stage.metric("stop_total", reason="finished") == 1
        assert stage.metric("malformed_total", kind="no_call") == 1
        assert stage.metric("tool_calls_total", tool="segment", result="ok") == 2
        assert stage.metric("tool_calls_total", tool="segment", result="repeated") == 1
        assert stage.metric("tool_calls_total", tool="finish", result="ok") == 1
        assert stage.metric("embedding_cache_total", result="miss") == 1
        assert stage.metric("embedding_cache_total", result="hit") == 1
        assert stage.metric("segmenter_batch_size_count") == 2
        assert stage.metric("turn_seconds_count", stage="policy") == 5
        assert stage.metric("policy_tokens_total", kind="completion") > 0
        assert stage.metric("time_to_first_mask_seconds_count") == 1
        assert stage.metric("request_seconds_count") == 1
        assert stage.metric("image_bytes_sent_total") == 0
        assert stage.metric("queue_seconds_count") == 1
        assert stage.metric("segmenter_seconds_count", stage="encode") == 1
        assert stage.metric("segmenter_seconds_count", stage="decode") == 2
    assert response.headers["content-type"].startswith("text/plain")


async def test_known_labels_are_there_before_they_count() -> None:
    async with on_stage() as stage:
        text = (await stage.client.get("/metrics")).text
    assert 'rsagent_stop_total{reason="deadline"} 0.0' in text
    assert 'rsagent_rejected_total{reason="full"} 0.0' in text
    assert 'rsagent_requests_total{outcome="policy_error"} 0.0' in text
    assert 'rsagent_tool_calls_total{result="ok",tool="zoom"} 0.0' in text


async def test_saturation_can_be_told_from_the_limits_and_the_process() -> None:
    async with on_stage(Cast(settings={"limits": {"inflight": 3, "queue": 5}})) as stage:
        assert stage.metric("inflight_limit") == 3
        assert stage.metric("queue_limit") == 5
        text = (await stage.client.get("/metrics")).text
    assert {family.name for family in text_string_to_metric_families(text)} >= {
        "process_cpu_seconds",
        "process_resident_memory_bytes",
        "process_open_fds",
    }


async def test_two_services_in_one_process_do_not_add_up() -> None:
    async with on_stage() as first, on_stage() as second:
        await first.post()
        assert first.metric("requests_total", outcome="segmented") == 1
        assert second.metric("requests_total", outcome="segmented") == 0
