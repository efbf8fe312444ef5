"""The echo server on asyncio's protocols, or with the argument `uvloop` on uvloop's, as anyone would write it.

It prints its port, and ends when its standard input closes.

asyncio asks for 256 KiB with every read. Unless the heap happens to have that much room, the C library maps memory for it
and gives it back, for every message: three more system calls, and the larger part of what a small message costs it then."""

import asyncio
import sys


class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)

    # In bulk the client reads when it can: the rest waits with it, and not in this process.
    def pause_writing(self):
        self.transport.pause_reading()

    def resume_writing(self):
        self.transport.resume_reading()


async def serve():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Echo, "127.0.0.1", 0, backlog=1024)
    ended = asyncio.Event()
    loop.add_reader(sys.stdin.fileno(), ended.set)
    print(server.sockets[0].getsockname()[1], flush=True)
    await ended.wait()
    loop.remove_reader(sys.stdin.fileno())
    server.close()


if sys.argv[1:] == ["uvloop"]:
    import uvloop

    if hasattr(uvloop, "run"):
        uvloop.run(serve())
    else:
        uvloop.install()
        asyncio.run(serve())
else:
    asyncio.run(serve())
