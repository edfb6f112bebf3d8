"""Baselines (a) and (b): the loop of public agent demos, in our words.

Each turn the whole conversation with all its pictures is prepared and read anew (`generate` of transformers, or a
request to the server with every picture in it), and each call of the tool is `SamPredictor.set_image` and `predict`.
(a) plays one episode at a time; (b) plays several, each on a thread with its own view of the same weights.

Kinder to the baselines than the demos are: no web framework, pictures decoded beforehand, our own (quick) parsing and
drawing, and keys and values kept within a turn.
"""

from __future__ import annotations

import copy
import threading
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Protocol

import httpx
import numpy as np
import torch
from transformers import LogitsProcessor, LogitsProcessorList

from loadtests.bench.account import Account
from loadtests.bench.forcing import ARGUMENT
from loadtests.bench.recording import Recording
from rsagent import _torchvision
from rsagent.agent import dialects
from rsagent.agent.dialects.protocol import Dialect
from rsagent.agent.episode import begin, prompt_of, step
from rsagent.agent.state import Budget, Task
from rsagent.policy.chat import ImageWriter, images_of, openai_messages, template_messages
from rsagent.policy.checkpoint import Checkpoint
from rsagent.policy.completions import request_body
from rsagent.policy.protocol import History, PolicyTurn, Sampling, ViewSpec
from rsagent.policy.settings import OpenAIPolicySettings
from rsagent.segmenter.core import ambiguous
from rsagent.segmenter.protocol import Image, MaskCandidate, Prompt, SegmentResult

_torchvision.prepare()

from segment_anything import SamPredictor  # noqa: E402


class Speaker(Protocol):
    """A policy without memory, for one thread."""

    def say(self, history: History, ids: Sequence[int]) -> PolicyTurn:
        """The turn that follows `history`, forced to the tokens `ids`."""
        ...


class _Follow(LogitsProcessor):  # type: ignore[misc,no-untyped-call,unused-ignore]
    """Leaves, at each step, the recorded token alone."""

    def __init__(self, start: int, ids: Sequence[int]) -> None:
        self._start, self._ids = start, ids

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        token = self._ids[input_ids.shape[1] - self._start]
        left = torch.full_like(scores, float("-inf"))
        left[:, token] = scores[:, token]
        return left  # type: ignore[return-value,unused-ignore]


class Transformers:
    """`generate` over the whole conversation, as model cards show it."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._tokenizer, self._processor = checkpoint.tokenizer, checkpoint.image_processor
        # Qwen's models keep the positions of the last prompt on the module: each thread has a module of its own.
        self._model = twin(checkpoint.model)
        self._image_token = int(self._model.config.image_token_id)

    @torch.inference_mode()
    def say(self, history: History, ids: Sequence[int]) -> PolicyTurn:
        """See `Speaker.say`."""
        images = self._processor(
            [image.pixels for image in images_of(history)], do_resize=False, return_tensors="pt"
        ).to(self._model.device)
        prompt = self._prompt(history, images["image_grid_thw"])
        said = self._model.generate(
            input_ids=prompt,
            attention_mask=torch.ones_like(prompt),
            mm_token_type_ids=(prompt == self._image_token).int(),
            **images,
            max_new_tokens=len(ids),
            do_sample=False,
            pad_token_id=0,
            logits_processor=LogitsProcessorList([_Follow(prompt.shape[1], ids)]),
        )[0, prompt.shape[1] :].tolist()
        text = self._tokenizer.decode(said, skip_special_tokens=False)
        return PolicyTurn(text, prompt_tokens=prompt.shape[1], completion_tokens=len(said))

    def _prompt(self, history: History, grids: torch.Tensor) -> torch.Tensor:
        """Ids [1, n], with as many placeholders for each picture as it has features: what processors do."""
        text = self._tokenizer.apply_chat_template(
            template_messages(history), tokenize=False, add_generation_prompt=True
        )
        counts = iter((grids.prod(-1) // self._processor.merge_size**2).tolist())
        tokens: list[int] = []
        for token in self._tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids:
            tokens += [token] * (next(counts) if token == self._image_token else 1)
        return torch.tensor([tokens], device=self._model.device)


def twin(model: Any) -> Any:
    """The same weights under modules of their own."""
    shared = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    return copy.deepcopy(model, shared)


class Served:
    """Requests to an OpenAI-compatible server: the whole conversation and every picture in it, each turn.

    A new `cache_salt` each time keeps vLLM's prefix cache out of it. Its cache of pictures by content stays: it cannot
    be left out by request, and errs in the baseline's favour.
    """

    def __init__(self, settings: OpenAIPolicySettings, model: str, stop: tuple[str, ...]) -> None:
        key = settings.api_key.get_secret_value() if settings.api_key else ""
        # Shorter than the server's five seconds, so that no request goes out on a connection that is just being closed.
        limits = httpx.Limits(keepalive_expiry=2.0)
        headers = {"Authorization": f"Bearer {key}"}
        self._http = httpx.Client(headers=headers, timeout=600, limits=limits, trust_env=False)
        self._url = f"{settings.urls[0].rstrip('/')}/chat/completions"
        self._model, self._stop = model, stop
        self._images = ImageWriter(settings.image_format, max_bytes=0)  # which keeps one: a demo encodes each anew

    def say(self, history: History, ids: Sequence[int]) -> PolicyTurn:
        """See `Speaker.say`."""
        sampling = Sampling(max_tokens=len(ids), stop=self._stop)
        body = request_body(self._model, openai_messages(history, self._images.part), sampling, vllm=True)
        body |= {"stream": False, "cache_salt": uuid.uuid4().hex, "vllm_xargs": {ARGUMENT: list(ids)}}
        del body["stream_options"]
        response = self._http.post(self._url, json=body)
        response.raise_for_status()
        answer = response.json()
        usage = answer["usage"]
        return PolicyTurn(
            answer["choices"][0]["message"]["content"],
            prompt_tokens=usage["prompt_tokens"],
            cached_tokens=(usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0,
            completion_tokens=usage["completion_tokens"],
        )


class Clicker:
    """SAM as demos call it: the picture is set, and so encoded, for each call."""

    def __init__(self, model: Any) -> None:
        self._predictor = SamPredictor(model)

    @torch.inference_mode()
    def segment(self, image: Image, prompt: Prompt) -> SegmentResult:
        """Masks of `prompt` (original-image pixels) on `image`, uint8 [H, W, 3] RGB."""
        self._predictor.set_image(image)
        points = np.array([(x, y) for x, y, _ in prompt.points]) if prompt.points else None
        masks, scores, logits = self._predictor.predict(
            point_coords=points,
            point_labels=np.array([label for *_, label in prompt.points]) if prompt.points else None,
            box=None if prompt.box is None else np.array(prompt.box),
            mask_input=None if prompt.base_logits is None else prompt.base_logits[None],
            multimask_output=ambiguous(prompt),
        )
        best = int(scores.argmax())
        mask = MaskCandidate(masks[best].astype(np.bool_), logits[best], float(scores[best]))
        return SegmentResult(mask, True, 0.0, 0.0, 1)


def play(recording: Recording, speaker: Speaker, clicker: Clicker, dialect: Dialect, view: ViewSpec) -> Account:
    """One episode, turn by turn, as its recording goes."""
    budget = Budget(turns=len(recording.turns))
    state = begin(Task(recording.image, recording.image_id, recording.query, view, budget), dialect)
    account = Account(episodes=1, images=len(recording.turns))
    reply = PolicyTurn("")
    while state.stop is None:
        shown = len(images_of(state.history))
        reply = speaker.say(state.history, recording.turns[len(state.turns)].ids)
        reading = dialect.parse(reply.text, state)
        prompt = prompt_of(state, reading.action)
        assert prompt is not None, "a recorded turn was not read as what it says"
        state = step(state, dialect, reply, reading, clicker.segment(recording.image, prompt)).state
        account += Account(
            turns=1,
            encodes=1,
            decodes=1,
            images_sent=shown,
            prompt_tokens=reply.prompt_tokens,
            cached_tokens=reply.cached_tokens,
            completion_tokens=reply.completion_tokens,
        )
    return replace(account, conversation_tokens=reply.prompt_tokens)


class Loop:
    """Plays recordings, at most so many at once as a call says."""

    def __init__(
        self, speaker: Callable[[], Speaker], clicker: Callable[[], Clicker], dialect: str, view: ViewSpec
    ) -> None:
        self._speaker, self._clicker = speaker, clicker
        self._dialect, self._view = dialects.get(dialect), view
        self._threads = torch.get_num_threads()
        self._made = threading.local()

    def play(self, recordings: Sequence[Recording], clients: int) -> Account:
        """All of them; the sum of what they cost."""
        if clients == 1:
            torch.set_num_threads(self._threads)  # what a crowd's threads set for themselves, later ones inherit
            return Account.total(self._play(recording) for recording in recordings)
        # One torch thread each: sixteen loops that each take all cores only stand in one another's way.
        with ThreadPoolExecutor(clients, initializer=torch.set_num_threads, initargs=(1,)) as threads:
            return Account.total(threads.map(self._play, recordings))

    def _play(self, recording: Recording) -> Account:
        if not hasattr(self._made, "pair"):
            self._made.pair = self._speaker(), self._clicker()
        speaker, clicker = self._made.pair
        return play(recording, speaker, clicker, self._dialect, self._view)
