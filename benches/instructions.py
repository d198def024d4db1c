#!/usr/bin/env python3
"""Instructions that one request, or one WebSocket message, costs lute-net in user space, counted by valgrind's callgrind.

    python3 benches/instructions.py [PATH of lute-net] [HANDLER of scripts/server.luau]
    python3 benches/instructions.py [PATH of lute-net] echo BYTES AT_ONCE
    python3 benches/instructions.py [PATH of lute-net] client AT_ONCE
    … --connections N    so many connections, each asked before the first answer is read (default: 1)
    … --functions N      also the N functions that run most of them

A count does not change with what else the machine does, so two builds can be compared where times are too noisy. With one
connection and one request at a time the loop's own share (one wait for one request) is at its largest. `echo` has WebSocket
messages come back, so many at once. `client` is the other side: requests of `client.request`, so many at once.
"""

import argparse
import collections
import re
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent


class Requests:
    """One request after the other, to a handler."""

    unit, at_once = "request", 1
    few, many = 2000, 8000
    bytes = (
        b"GET /?name=World HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Greeting: Hello\r\nUser-Agent: count/1\r\n\r\n"
    )

    def __init__(self, handler):
        self.name, self.script = handler, ["scripts/server.luau", handler]

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
        return [options.path, str(HERE / "scripts/requests.luau"), url, str(count), str(self.at_once)]


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
    """The instructions of so many, in all and by function."""
    with tempfile.NamedTemporaryFile() as out:
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out.name}"]
        if isinstance(load, Client):
            subprocess.run(command + load.command(count), capture_output=True, check=True)
        else:
            run_server(command, load, count)
        return by_function(out.name)


def run_server(command, load, count):
    port = free_port()
    script, name = load.script
    command = command + [options.path, str(HERE / script), str(port), name]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    connections = [connect(port) for _ in range(options.connections)]
    for connection in connections:
        load.begin(connection)
    for _ in range(count // load.at_once // len(connections)):
        for connection in connections:
            connection.sendall(load.bytes)
        for connection in connections:
            load.take(connection)
    for connection in connections:
        connection.close()
    process.send_signal(signal.SIGINT)
    process.wait()


def by_function(file):
    command = ["callgrind_annotate", "--threshold=100", "--auto=no", "--show-percs=no", file]
    report = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    counts = collections.Counter()
    for count, name in re.findall(r"^ *([\d,]+)  \S*?:(.+?)(?: \[.*\])?$", report, re.MULTILINE):
        # A function that was inlined in several files is listed with each.
        counts[name] += int(count.replace(",", ""))
    counts["PROGRAM TOTALS"] = int(re.search(r"([\d,]+)  PROGRAM TOTALS", report).group(1).replace(",", ""))
    return counts


def chosen():
    match options.load:
        case "echo":
            return Echoes(*options.numbers)
        case "client":
            return Client(*options.numbers)
        case handler:
            return Requests(handler)


arguments = argparse.ArgumentParser(usage=__doc__)
arguments.add_argument("path", nargs="?", default=str(HERE.parent / "target/release/lute-net"))
arguments.add_argument("load", nargs="?", default="hello")
arguments.add_argument("numbers", nargs="*", type=int)
arguments.add_argument("--connections", type=int, default=1)
arguments.add_argument("--functions", type=int, default=0)
options = arguments.parse_args()

load = chosen()
few, many = counted(load, load.few), counted(load, load.many)
each = {name: (many[name] - few[name]) / (load.many - load.few) for name in many}
print(f"{load.name}: {each.pop('PROGRAM TOTALS'):.0f} instructions a {load.unit}")
for name in sorted(each, key=each.get, reverse=True)[: options.functions]:
    print(f"{each[name]:8.0f}  {name}")
