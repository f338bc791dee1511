"""One group of calls of an official SDK against `ringgate demo`: check.py GROUP URL.

`tests/sdk.rs` runs it. The demo's models are in `src/demo.rs`; they say the same words each time.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import TypeVar

import anthropic
import openai

# A retry would hide a failure. The timeout is for a gateway that hangs: no call takes a second.
TIMEOUT_SECONDS = 20.0
RETRIES = 0

OPENING = "Every ring has a gate"
# What the mock says where the request sets no limit.
TOKENS = 20

Error = TypeVar("Error", bound=Exception)

HELLO = [{"role": "user", "content": "Hello"}]


def openai_client(url: str) -> openai.OpenAI:
    return openai.OpenAI(
        base_url=f"{url}/v1", api_key="any", timeout=TIMEOUT_SECONDS, max_retries=RETRIES
    )


def anthropic_client(url: str) -> anthropic.Anthropic:
    return anthropic.Anthropic(
        base_url=url, api_key="any", timeout=TIMEOUT_SECONDS, max_retries=RETRIES
    )


def openai_models(url: str) -> None:
    client = openai_client(url)
    names = [model.id for model in client.models.list()]
    same(sorted(names), ["demo-chat", "demo-claude", "demo-embedding"])
    same(client.models.retrieve("demo-chat").id, "demo-chat")


def openai_chat(url: str) -> None:
    client = openai_client(url)
    whole = client.chat.completions.create(model="demo-chat", messages=HELLO)
    text = whole.choices[0].message.content
    starts(text, OPENING)
    same(whole.usage.completion_tokens, TOKENS)
    alias = client.chat.completions.create(model="gpt-4", messages=HELLO)
    same(alias.choices[0].message.content, text)
    stream = client.chat.completions.create(
        model="demo-chat", messages=HELLO, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    deltas = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices]
    words = [delta for delta in deltas if delta]
    same("".join(words), text)
    same(len(words), TOKENS)
    same(chunks[-1].usage.completion_tokens, TOKENS)
    reasons = [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices]
    same(reasons[-1], "stop")


def openai_completions(url: str) -> None:
    completion = openai_client(url).completions.create(model="demo-chat", prompt="Hello")
    starts(completion.choices[0].text, OPENING)


def openai_embeddings(url: str) -> None:
    """The SDK asks for base64 unless told otherwise, and gives out numbers all the same."""
    client = openai_client(url)
    texts = ["one", "two", "one"]
    first, second, third = vectors(client.embeddings.create(model="demo-embedding", input=texts))
    same(first, third)
    differ(first, second)
    close(math.hypot(*first), 1.0)
    floats = client.embeddings.create(
        model="demo-embedding", input=texts, encoding_format="float"
    )
    for number, wanted in zip(first, vectors(floats)[0], strict=True):
        close(number, wanted)


def vectors(answer: openai.types.CreateEmbeddingResponse) -> list[list[float]]:
    return [item.embedding for item in answer.data]


def openai_responses(url: str) -> None:
    client = openai_client(url)
    whole = client.responses.create(model="demo-chat", input="Hello")
    starts(whole.output_text, OPENING)
    same(whole.status, "completed")
    events = list(client.responses.create(model="demo-chat", input="Hello", stream=True))
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    same("".join(deltas), whole.output_text)
    same(events[0].type, "response.created")
    same(events[-1].type, "response.completed")
    same(events[-1].response.output_text, whole.output_text)


def openai_transcription(url: str) -> None:
    # Larger than one read, and with bytes that look like the ends of lines and of parts.
    audio = bytes(range(256)) * 400 + b"\r\n--\r\n\r\n--"
    transcript = openai_client(url).audio.transcriptions.create(
        model="demo-chat", file=("audio.wav", audio)
    )
    starts(transcript.text, OPENING)


def openai_errors(url: str) -> None:
    client = openai_client(url)
    unknown = refused(
        openai.NotFoundError,
        lambda: client.chat.completions.create(model="demo-chta", messages=HELLO),
    )
    contains(unknown.message, "`demo-chta`")
    contains(unknown.message, "`demo-chat`")
    same((unknown.code, unknown.param), ("model_not_found", "model"))
    wrong_type = refused(
        openai.BadRequestError,
        lambda: client.chat.completions.create(model=7, messages=HELLO),
    )
    same((wrong_type.type, wrong_type.param), ("invalid_request_error", "model"))
    malformed = refused(
        openai.BadRequestError,
        lambda: client.post(
            "/chat/completions",
            content=b'{"model":"demo-chat"',
            options={"headers": {"Content-Type": "application/json"}},
            cast_to=object,
        ),
    )
    same(malformed.type, "invalid_request_error")


def openai_cancellation(url: str) -> None:
    client = openai_client(url)
    with client.chat.completions.create(
        model="demo-chat", messages=HELLO, stream=True
    ) as stream:
        same(next(iter(stream)).object, "chat.completion.chunk")
    again = client.chat.completions.create(model="demo-chat", messages=HELLO)
    starts(again.choices[0].message.content, OPENING)


def anthropic_messages(url: str) -> None:
    client = anthropic_client(url)
    call = {"model": "demo-claude", "max_tokens": 8, "messages": HELLO}
    whole = client.messages.create(**call)
    text = whole.content[0].text
    starts(text, OPENING)
    same((whole.stop_reason, whole.usage.output_tokens), ("max_tokens", 8))
    with client.messages.stream(**call) as stream:
        words = list(stream.text_stream)
        final = stream.get_final_message()
    same("".join(words), text)
    same(len(words), 8)
    same((final.content[0].text, final.stop_reason), (text, "max_tokens"))


def anthropic_errors(url: str) -> None:
    client = anthropic_client(url)
    unknown = refused(
        anthropic.NotFoundError,
        lambda: client.messages.create(model="demo-cluade", max_tokens=8, messages=HELLO),
    )
    same(unknown.body["type"], "error")
    same(unknown.body["error"]["type"], "not_found_error")
    contains(unknown.body["error"]["message"], "`demo-claude`")
    differ(unknown.body["request_id"], "")


def same(found: object, wanted: object) -> None:
    if found != wanted:
        raise AssertionError(f"found {found!r}, wanted {wanted!r}")


def differ(one: object, other: object) -> None:
    if one == other:
        raise AssertionError(f"twice {one!r}")


def close(found: float, wanted: float) -> None:
    """To the precision of 32-bit floats."""
    if abs(found - wanted) > 1e-5:
        raise AssertionError(f"found {found!r}, wanted {wanted!r}")


def starts(text: str, opening: str) -> None:
    if not text.startswith(opening):
        raise AssertionError(f"{text!r} does not start with {opening!r}")


def contains(text: str, part: str) -> None:
    if part not in text:
        raise AssertionError(f"{text!r} does not contain {part!r}")


def refused(error: type[Error], call: Callable[[], object]) -> Error:
    """The exception that the call raises; any other is a failure."""
    try:
        answer = call()
    except error as raised:
        return raised
    raise AssertionError(f"no {error.__name__} but {answer!r}")


GROUPS = [
    openai_models,
    openai_chat,
    openai_completions,
    openai_embeddings,
    openai_responses,
    openai_transcription,
    openai_errors,
    openai_cancellation,
    anthropic_messages,
    anthropic_errors,
]


def main() -> None:
    _, name, url = sys.argv
    {group.__name__: group for group in GROUPS}[name](url)


if __name__ == "__main__":
    main()
