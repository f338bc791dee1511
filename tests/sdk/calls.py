"""gRPC by the library `grpcio`: calls.py serve | calls.py check ADDRESS[@CA]...

`serve` prints the port of a server. `check` makes the same calls at each address and prints what
came of them, a line of JSON for each; a gateway in between must not change a word. With the file of
an authority, it speaks TLS with a server called `a.example`.
`tests/suite/grpc.rs` runs both.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures

import grpc

# For a gateway that hangs: no call takes a second.
TIMEOUT_SECONDS = 20
LARGE_BYTES = 3 << 20
AT_ONCE = 50
SERVICE = "ringgate.test.Calls"

cancelled = threading.Event()


def unary(request: bytes, context: grpc.ServicerContext) -> bytes:
    context.set_trailing_metadata([("x-length", str(len(request)))])
    match request:
        case b"refuse":
            context.set_trailing_metadata([("x-why", "because"), ("x-why-bin", b"\x00\xff")])
            context.abort(grpc.StatusCode.NOT_FOUND, "there is no such thing: \u00e9")
        case b"metadata":
            sent = [(k, v) for k, v in context.invocation_metadata() if k.startswith("x-own")]
            context.send_initial_metadata([("x-answer", "early"), ("x-raw-bin", b"\x00\xff")])
            return repr(sorted(sent)).encode()
        case b"time left":
            return str(0 < context.time_remaining() <= TIMEOUT_SECONDS).encode()
        case b"sleep":
            time.sleep(2)
        case b"was it cancelled":
            return str(cancelled.wait(TIMEOUT_SECONDS)).encode()
    return request


def stream_out(request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
    if request == b"for ever":
        cancelled.clear()
        context.add_callback(cancelled.set)
        yield b"begun"
        cancelled.wait(TIMEOUT_SECONDS)
        return
    for number in range(int(request)):
        yield str(number).encode()
    context.set_trailing_metadata([("x-count", request.decode())])


def stream_in(requests: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
    return str(sum(len(request) for request in requests)).encode()


def both(requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
    for request in requests:
        yield request
        if request == b"enough":
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "enough")


def serve() -> None:
    handlers = {
        "Unary": grpc.unary_unary_rpc_method_handler(unary),
        "StreamOut": grpc.unary_stream_rpc_method_handler(stream_out),
        "StreamIn": grpc.stream_unary_rpc_method_handler(stream_in),
        "Both": grpc.stream_stream_rpc_method_handler(both),
    }
    server = grpc.server(futures.ThreadPoolExecutor(AT_ONCE + 10))
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(SERVICE, handlers)])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    server.wait_for_termination()


def failure(error: grpc.RpcError) -> list[object]:
    own = [(k, repr(v)) for k, v in error.trailing_metadata() or () if k.startswith("x-")]
    return [error.code().name, error.details(), sorted(own)]


class Caller:
    def __init__(self, channel: grpc.Channel) -> None:
        self.unary = channel.unary_unary(f"/{SERVICE}/Unary")
        self.stream_out = channel.unary_stream(f"/{SERVICE}/StreamOut")
        self.stream_in = channel.stream_unary(f"/{SERVICE}/StreamIn")
        self.both = channel.stream_stream(f"/{SERVICE}/Both")

    def plain(self) -> object:
        answer, call = self.unary.with_call(b"hello", timeout=TIMEOUT_SECONDS)
        return [answer.decode(), call.code().name, list(map(list, call.trailing_metadata()))]

    def empty(self) -> object:
        return self.unary(b"", timeout=TIMEOUT_SECONDS).decode()

    def large(self) -> object:
        return len(self.unary(b"x" * LARGE_BYTES, timeout=TIMEOUT_SECONDS))

    def metadata(self) -> object:
        own = [("x-own", "a"), ("x-own-bin", b"\x01\xfe")]
        answer, call = self.unary.with_call(b"metadata", metadata=own, timeout=TIMEOUT_SECONDS)
        initial = {k: repr(v) for k, v in call.initial_metadata() if k.startswith("x-")}
        return [answer.decode(), sorted(initial.items())]

    def refused(self) -> object:
        try:
            return self.unary(b"refuse", timeout=TIMEOUT_SECONDS)
        except grpc.RpcError as error:
            return failure(error)

    def deadline(self) -> object:
        return self.unary(b"time left", timeout=TIMEOUT_SECONDS).decode()

    def late(self) -> object:
        try:
            return self.unary(b"sleep", timeout=0.2)
        except grpc.RpcError as error:
            return failure(error)[0]

    def streamed_out(self) -> object:
        call = self.stream_out(b"1000", timeout=TIMEOUT_SECONDS)
        total = sum(int(message) for message in call)
        return [total, list(map(list, call.trailing_metadata()))]

    def streamed_in(self) -> object:
        messages = (b"x" * size for size in range(1000))
        return self.stream_in(messages, timeout=TIMEOUT_SECONDS).decode()

    def conversation(self) -> object:
        turns = threading.Semaphore(1)

        def requests() -> Iterator[bytes]:
            for number in range(100):
                turns.acquire()
                yield str(number).encode()

        said = []
        for answer in self.both(requests(), timeout=TIMEOUT_SECONDS):
            said.append(int(answer))
            turns.release()
        return said == list(range(100))

    def ended_by_the_server(self) -> object:
        silence = threading.Event()

        def requests() -> Iterator[bytes]:
            yield b"hello"
            yield b"enough"
            silence.wait(TIMEOUT_SECONDS)

        said = []
        try:
            for answer in self.both(requests(), timeout=TIMEOUT_SECONDS):
                said.append(answer.decode())
        except grpc.RpcError as error:
            silence.set()
            return [said, failure(error)]
        return said

    def cancelled(self) -> object:
        call = self.stream_out(b"for ever", timeout=TIMEOUT_SECONDS)
        begun = next(call)
        call.cancel()
        return [begun.decode(), self.unary(b"was it cancelled", timeout=TIMEOUT_SECONDS).decode()]

    def at_once(self) -> object:
        calls = [
            self.unary.future(str(number).encode(), timeout=TIMEOUT_SECONDS)
            for number in range(AT_ONCE)
        ]
        return [call.result().decode() for call in calls] == [str(n) for n in range(AT_ONCE)]


CASES: list[Callable[[Caller], object]] = [
    Caller.plain,
    Caller.empty,
    Caller.large,
    Caller.metadata,
    Caller.refused,
    Caller.deadline,
    Caller.late,
    Caller.streamed_out,
    Caller.streamed_in,
    Caller.conversation,
    Caller.ended_by_the_server,
    Caller.cancelled,
    Caller.at_once,
]


def channel_to(where: str) -> grpc.Channel:
    address, _, authority = where.partition("@")
    if not authority:
        return grpc.insecure_channel(address)
    with open(authority, "rb") as file:
        credentials = grpc.ssl_channel_credentials(file.read())
    options = [("grpc.ssl_target_name_override", "a.example")]
    return grpc.secure_channel(address, credentials, options)


def check(where: str) -> None:
    with channel_to(where) as channel:
        caller = Caller(channel)
        print(json.dumps({case.__name__: case(caller) for case in CASES}), flush=True)


def main() -> None:
    match sys.argv[1:]:
        case ["serve"]:
            serve()
        case ["check", *addresses]:
            for address in addresses:
                check(address)
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
