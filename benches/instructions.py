#!/usr/bin/env python3
"""Instructions that one request, or one WebSocket message, costs lute-net in user space, counted by valgrind's callgrind.

    python3 benches/instructions.py [PATH of lute-net] [HANDLER of scripts/server.luau]
    python3 benches/instructions.py [PATH of lute-net] echo BYTES AT_ONCE
    python3 benches/instructions.py [PATH of lute-net] client AT_ONCE

A count does not change with what else the machine does, so two builds can be compared where times are too noisy. One
connection, one request at a time: the loop's own share (one wait for one request) is at its largest. `echo` has WebSocket
messages come back, so many at once. `client` is the other side: requests of `client.request`, so many at once.
"""

import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
BINARY = sys.argv[1] if len(sys.argv) > 1 else str(HERE.parent / "target/release/lute-net")
HANDLER = sys.argv[2] if len(sys.argv) > 2 else "hello"


class Requests:
    """One request after the other, to a handler."""

    name, unit, at_once = HANDLER, "request", 1
    few, many = 2000, 8000
    script = ["scripts/server.luau", HANDLER]
    bytes = (
        b"GET /?name=World HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Greeting: Hello\r\nUser-Agent: count/1\r\n\r\n"
    )

    def begin(self, connection):
        pass

    def take(self, connection):
        answer = b""
        while not answer.endswith(b"!"):
            answer += piece_of(connection)


class Echoes:
    """Binary messages of `size` bytes that come back, `at_once` of them."""

    unit, few, many = "message", 1600, 6400
    script = ["scripts/websocket.luau", "echo"]

    def __init__(self, size, at_once):
        self.name, self.at_once = f"echo of {size} bytes, {at_once} at once", at_once
        payload = bytes(index % 251 for index in range(size))
        length = bytes([size]) if size < 126 else b"\x7e" + struct.pack(">H", size)
        mask = b"\x37\xfa\x21\x3d"
        masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
        self.bytes = (b"\x82" + bytes([length[0] | 0x80]) + length[1:] + mask + masked) * at_once
        self.echo = (b"\x82" + length + payload) * at_once

    def begin(self, connection):
        connection.sendall(
            b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            answer += piece_of(connection)

    def take(self, connection):
        answer = b""
        while len(answer) < len(self.echo):
            answer += piece_of(connection)
        if answer != self.echo:
            raise SystemExit("what came back is not what was sent")


class Client:
    """Requests of `client.request` to a server in this process, `at_once` of them."""

    unit, few, many = "request", 1000, 4000
    answer = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\nHello, World!"

    def __init__(self, at_once):
        self.name, self.at_once = f"client, {at_once} at once", at_once
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            connection, _ = self.listener.accept()
            threading.Thread(target=self.answer_all, args=(connection,), daemon=True).start()

    def answer_all(self, connection):
        # Each request is short, and the next one comes after its answer.
        while connection.recv(65536):
            connection.sendall(self.answer)
        connection.close()

    def command(self, count):
        url = f"http://127.0.0.1:{self.listener.getsockname()[1]}/"
        return [BINARY, str(HERE / "scripts/requests.luau"), url, str(count), str(self.at_once)]


def piece_of(connection):
    piece = connection.recv(65536)
    if not piece:
        raise SystemExit("lute-net closed the connection")
    return piece


def connect(port):
    for _ in range(200):
        try:
            return socket.create_connection(("127.0.0.1", port))
        except OSError:
            time.sleep(0.1)
    raise SystemExit("lute-net did not start to listen")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def counted(load, count):
    return counted_client(load, count) if HANDLER == "client" else counted_server(load, count)


def counted_client(load, count):
    with tempfile.NamedTemporaryFile() as out:
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out.name}"]
        command += load.command(count)
        ended = subprocess.run(command, capture_output=True, text=True, check=True)
    return instructions(ended.stderr)


def counted_server(load, count):
    port = free_port()
    script, name = load.script
    with tempfile.NamedTemporaryFile() as out:
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out.name}", BINARY]
        command += [str(HERE / script), str(port), name]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        connection = connect(port)
        load.begin(connection)
        for _ in range(count // load.at_once):
            connection.sendall(load.bytes)
            load.take(connection)
        connection.close()
        process.send_signal(signal.SIGINT)
        report = process.communicate()[1].decode()
    return instructions(report)


def instructions(report):
    return int(re.search(r"Collected : (\d+)", report).group(1))


def chosen():
    match HANDLER:
        case "echo":
            return Echoes(int(sys.argv[3]), int(sys.argv[4]))
        case "client":
            return Client(int(sys.argv[3]))
        case _:
            return Requests()


load = chosen()
each = (counted(load, load.many) - counted(load, load.few)) / (load.many - load.few)
print(f"{load.name}: {each:.0f} instructions a {load.unit}")
