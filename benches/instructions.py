#!/usr/bin/env python3
"""Instructions that one request costs lute-net in user space, counted by valgrind's callgrind.

    python3 benches/instructions.py [PATH of lute-net] [HANDLER of scripts/server.luau]

A count does not change with what else the machine does, so two builds can be compared where times are too noisy. One
connection, one request at a time: the loop's own share (one wait for one request) is at its largest.
"""

import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
BINARY = sys.argv[1] if len(sys.argv) > 1 else str(HERE.parent / "target/release/lute-net")
HANDLER = sys.argv[2] if len(sys.argv) > 2 else "hello"
REQUEST = b"GET /?name=World HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Greeting: Hello\r\nUser-Agent: count/1\r\n\r\n"
FEW, MANY = 2000, 8000


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


def counted(requests):
    port = free_port()
    with tempfile.NamedTemporaryFile() as out:
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out.name}", BINARY]
        command += [str(HERE / "scripts/server.luau"), str(port), HANDLER]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        connection = connect(port)
        for _ in range(requests):
            connection.sendall(REQUEST)
            answer = b""
            while not answer.endswith(b"!"):
                piece = connection.recv(65536)
                if not piece:
                    raise SystemExit(f"lute-net closed the connection: {answer!r}")
                answer += piece
        connection.close()
        process.send_signal(signal.SIGINT)
        report = process.communicate()[1].decode()
    return int(re.search(r"Collected : (\d+)", report).group(1))


print(f"{HANDLER}: {(counted(MANY) - counted(FEW)) / (MANY - FEW):.0f} instructions a request")
