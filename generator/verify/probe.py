"""Asks the components of a party who reaches whom.

``stack`` sends this file to the Python of one of their containers, so it needs nothing but Python 3.6. Its argument and
its output are JSON: a list of questions; for each, whether it went well, and what was said.

A component is asked at its own port for something that makes it ask the next one. What it speaks is what it says first:
a gRPC server its SETTINGS; a component of fategen's sample sources a line of text, and it takes the name of the next
one as a question.
"""

import ast
import json
import socket
import struct
import sys
import urllib.error
import urllib.request
from pathlib import Path

TIMEOUT = 8.0


def probe(question: "dict[str, str]") -> "tuple[bool, str]":
    ask = {"rpc": rpc, "http": http, "redis": redis}[question["speaks"]]
    try:
        host, port = (question["from"], int(question["port"])) if question["port"] else address(question["to"])
    except (OSError, ValueError, LookupError) as error:
        return False, f"python's configuration: {type(error).__name__}: {error}"
    try:
        return ask(host, port, question)
    except OSError as error:
        return False, f"{host}:{port}: {error}"


def address(name: str) -> "tuple[str, int]":
    """Where python finds another, by the files that it goes by itself."""
    if name == "redis":
        settings = redis_settings()
        return settings["host"], int(settings["port"])
    server = json.loads(Path("arch/conf/server_conf.json").read_text())["servers"][name]
    return server["host"], int(server["port"])


def redis_settings() -> "dict[str, str]":
    for node in ast.parse(Path("fate_flow/settings.py").read_text()).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "REDIS":
            return dict(ast.literal_eval(node.value))
    raise ValueError("fate_flow/settings.py has no REDIS")


def redis(host: str, port: int, question: "dict[str, str]") -> "tuple[bool, str]":
    """AUTH and PING, as lines, which Redis takes as well as its own form."""
    answer = ""
    with socket.create_connection((host, port), TIMEOUT) as connection, connection.makefile("rwb") as stream:
        for command in ("AUTH " + redis_settings()["password"], "PING"):
            stream.write((command + "\r\n").encode())
            stream.flush()
            answer = stream.readline().decode().strip()
    return answer == "+PONG", answer


def http(host: str, port: int, question: "dict[str, str]") -> "tuple[bool, str]":
    """Well is 200 and, where the answer has a code of its own (fate_flow's retcode, FATE-Board's code), 0 there."""
    request = urllib.request.Request(f"http://{host}:{port}{question['call']}", question["message"].encode() or None)
    request.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
            said = response.read(4000).decode("utf-8", "replace")
    except urllib.error.HTTPError as error:
        return False, f"{error.code} {error.read(300).decode('utf-8', 'replace')}"
    try:
        answer = json.loads(said)
    except ValueError:
        answer = {}
    code = answer.get("retcode", answer.get("code", 0)) if isinstance(answer, dict) else 0
    return code == 0, said if code else "200"


def rpc(host: str, port: int, question: "dict[str, str]") -> "tuple[bool, str]":
    with socket.create_connection((host, port), TIMEOUT) as connection:
        first = connection.recv(1, socket.MSG_PEEK)
        with connection.makefile("rwb") as stream:
            if first == b"\0":
                return grpc(stream, question)
            return line(stream, question["question"]) if first else (False, "the connection is closed at once")


def line(stream: "socket.SocketIO", question: str) -> "tuple[bool, str]":
    said = stream.readline().decode().strip()
    if question:
        stream.write((question + "\n").encode())
        stream.flush()
        said = stream.readline().decode().strip()
    return " ok" in said and not said.startswith("error"), said or "no answer"


def grpc(stream: "socket.SocketIO", question: "dict[str, str]") -> "tuple[bool, str]":
    """One unary call: RFC 9113's frames, headers that need no table to write (RFC 7541, 6.2.2).

    Reading a status would take such a table. It takes none to see that a call which failed brings no message.
    """
    if not question["call"]:
        return True, "gRPC"
    message = encode(json.loads(question["message"] or "{}"))
    path = "/" + question["call"]
    headers = ((b"\x04", path), (b"\x01", "party"), (b"\x0f\x10", "application/grpc"), (b"\x00\x02te", "trailers"))
    block = b"\x83\x86" + b"".join(name + struct.pack("B", len(text)) + text.encode() for name, text in headers)
    stream.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b"") + frame(1, 4, 1, block))
    stream.write(frame(0, 1, 1, b"\0" + struct.pack(">I", len(message)) + message))
    stream.flush()
    answer = b""
    while True:
        head = stream.read(9)
        if head is None or len(head) < 9:
            return False, "the connection was closed"
        kind, flags = head[3], head[4]
        payload = stream.read(int.from_bytes(head[:3], "big")) or b""
        if kind in (4, 6) and not flags & 1:  # SETTINGS and PING want an acknowledgement
            stream.write(frame(kind, 1, 0, payload if kind == 6 else b""))
            stream.flush()
        elif kind == 0:
            answer += payload
        elif kind in (3, 7):
            return False, "the call was broken off"
        if kind in (0, 1) and flags & 1:
            return bool(answer), f"an answer of {len(answer) - 5} bytes" if answer else "the call failed"


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def encode(fields: "dict[str, object]") -> bytes:
    """A protobuf message by the numbers of its fields: texts, whole numbers, messages, lists of those."""
    made = b""
    for number, value in fields.items():
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, int):
                made += varint(int(number) << 3) + varint(one)
            else:
                part = encode(one) if isinstance(one, dict) else str(one).encode()
                made += varint(int(number) << 3 | 2) + varint(len(part)) + part
    return made


def varint(number: int) -> bytes:
    made = b""
    while number > 127:
        made += struct.pack("B", number & 127 | 128)
        number >>= 7
    return made + struct.pack("B", number)


if __name__ == "__main__":
    print(json.dumps([probe(question) for question in json.loads(sys.argv[1])]))
