"""WebSockets by the library `websockets`: echo.py serve | echo.py check URL...

`serve` prints the port of an echo server. `check` has the same conversations with each URL and
prints what came of them, a line of JSON for each; a gateway in between must not change a word.
`tests/suite/websocket_library.rs` runs both.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable

from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

# For a gateway that hangs: no conversation takes a second.
TIMEOUT_SECONDS = 20
MESSAGE_BYTES_MAX = 4 << 20
# Where the form of a frame's length changes, and beyond a receive buffer.
SIZES = [0, 1, 125, 126, 127, 65_535, 65_536, 1 << 20]
CLIENTS = 50


async def answer(connection: ServerConnection) -> None:
    async for message in connection:
        match message:
            case "close me":
                await connection.close(3001, "as you wish")
            case "drop me":
                connection.transport.abort()
            case "in pieces":
                await connection.send(iter(["in ", "", "pieces"]))
            case "ping me":
                latency = await (await connection.ping(b"are you there"))
                await connection.send("you are there" if latency >= 0 else "you are not")
            case _:
                await connection.send(message)


async def run_server() -> None:
    options = {"max_size": MESSAGE_BYTES_MAX, "subprotocols": ["chat", "superchat"]}
    async with serve(answer, "127.0.0.1", 0, **options) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()


async def sizes(connection: ClientConnection) -> object:
    came = []
    for size in SIZES:
        text, data = "ä" * (size // 2), bytes(i * 7 % 251 for i in range(size))
        for message in (text, data):
            await connection.send(message)
            came.append(await connection.recv() == message)
    return came


async def pieces(connection: ClientConnection) -> object:
    await connection.send(iter(["one, ", "two, ", "", "three"]))
    whole = await connection.recv()
    await connection.send("in pieces")
    return [whole, [piece async for piece in connection.recv_streaming()]]


async def pings(connection: ClientConnection) -> object:
    waiter = await connection.ping(b"x" * 125)
    await asyncio.wait_for(waiter, TIMEOUT_SECONDS)
    await connection.send("ping me")
    return await connection.recv()


async def closed_by_client(connection: ClientConnection) -> object:
    await connection.close(3000, "gone home")
    return [connection.close_code, connection.close_reason]


async def closed_by_server(connection: ClientConnection) -> object:
    await connection.send("close me")
    return await end_of(connection)


async def dropped_by_server(connection: ClientConnection) -> object:
    await connection.send("drop me")
    return await end_of(connection)


async def not_utf8(connection: ClientConnection) -> object:
    await connection.send(b"caf\xe9", text=True)
    return await end_of(connection)


async def too_large(connection: ClientConnection) -> object:
    await connection.send(bytes(MESSAGE_BYTES_MAX + 1))
    return (await end_of(connection))[0]


async def many_in_flight(connection: ClientConnection) -> object:
    sending = asyncio.create_task(send_all(connection, 2000))
    came = [int(await connection.recv()) for _ in range(2000)]
    await sending
    return came == list(range(2000))


async def send_all(connection: ClientConnection, count: int) -> None:
    for number in range(count):
        await connection.send(str(number))


async def agreed(connection: ClientConnection) -> object:
    headers = connection.response.headers
    return [connection.subprotocol, headers.get("Sec-WebSocket-Extensions")]


async def end_of(connection: ClientConnection) -> list[object]:
    try:
        while True:
            await connection.recv()
    except ConnectionClosed as closed:
        received = closed.rcvd
        return [received and received.code, received and received.reason]


Conversation = Callable[[ClientConnection], Awaitable[object]]

CONVERSATIONS: list[Conversation] = [
    agreed,
    sizes,
    pieces,
    pings,
    closed_by_client,
    closed_by_server,
    dropped_by_server,
    not_utf8,
    too_large,
    many_in_flight,
]


async def converse(url: str, conversation: Conversation, compression: str | None) -> object:
    options = {"compression": compression, "subprotocols": ["superchat"], "proxy": None}
    async with asyncio.timeout(TIMEOUT_SECONDS):
        async with connect(url, max_size=MESSAGE_BYTES_MAX, **options) as connection:
            return await conversation(connection)


async def check(url: str) -> list[object]:
    results: list[object] = []
    for compression in ("deflate", None):
        for conversation in CONVERSATIONS:
            result = await converse(url, conversation, compression)
            results.append([conversation.__name__, compression, result])
    crowd = [converse(url, sizes, "deflate") for _ in range(CLIENTS)]
    results.append(["crowd", await asyncio.gather(*crowd)])
    return results


async def check_all(urls: list[str]) -> None:
    for url in urls:
        print(json.dumps(await check(url)), flush=True)


def main() -> None:
    match sys.argv[1:]:
        case ["serve"]:
            asyncio.run(run_server())
        case ["check", *urls] if urls:
            asyncio.run(check_all(urls))
        case _:
            sys.exit("usage: echo.py serve | echo.py check URL...")


if __name__ == "__main__":
    main()
