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
import typing
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from io import BufferedReader
from pathlib import Path

TIMEOUT = 10.0

Question = typing.Dict[str, typing.Any]  # noqa: UP006 (Python 3.6)


def probe(question: Question) -> "tuple[bool, bool, str]":
    """Whether the one that is asked is there, whether it went well, what was said."""
    ask = {"rpc": rpc, "http": http, "redis": redis}[question["speaks"]]
    own = not question["port"]
    try:
        host, port = address(question["to"]) if own else (question["from"], int(question["port"]))
    except (OSError, ValueError, LookupError) as error:
        return True, False, f"python's configuration: {type(error).__name__}: {error}"
    try:
        return (True, *ask(host, port, question))
    except OSError as error:
        reason = getattr(error, "reason", error)
        silent = isinstance(reason, socket.timeout)  # still starting, on a busy machine
        there = not silent and (own or not isinstance(reason, (ConnectionRefusedError, socket.gaierror)))
        return there, False, f"{host}:{port}: {reason}"
    except (HTTPException, ValueError) as error:
        return True, False, f"{host}:{port}: {type(error).__name__}: {error}"


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


def redis(host: str, port: int, question: Question) -> "tuple[bool, str]":
    """AUTH and PING, as lines, which Redis takes as well as its own form."""
    answer = ""
    with socket.create_connection((host, port), TIMEOUT) as connection, connection.makefile("rwb") as stream:
        for command in ("AUTH " + redis_settings()["password"], "PING"):
            stream.write((command + "\r\n").encode())
            stream.flush()
            answer = stream.readline().decode().strip()
    return answer == "+PONG", answer


def http(host: str, port: int, question: Question) -> "tuple[bool, str]":
    """Well is 200 and, where the answer has a code of its own (fate_flow: retcode, FATE-Board: code), the right one."""
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
    right = question["code"]
    well = not isinstance(answer, dict) or answer.get("retcode", answer.get("code", right)) == right
    return well, "200" if well else said


def rpc(host: str, port: int, question: Question) -> "tuple[bool, str]":
    with socket.create_connection((host, port), TIMEOUT) as connection, connection.makefile("rb") as reader:
        first = reader.peek(1)[:1]
        if first == b"\0":
            return grpc(connection, reader, question)
        if first:
            return line(connection, reader, str(question["question"]))
        return False, "the connection is closed at once"


def line(connection: socket.socket, reader: BufferedReader, question: str) -> "tuple[bool, str]":
    said = reader.readline().decode().strip()
    if question:
        connection.sendall((question + "\n").encode())
        said = reader.readline().decode().strip()
    return " ok" in said and not said.startswith("error"), said or "no answer"


def grpc(connection: socket.socket, reader: BufferedReader, question: Question) -> "tuple[bool, str]":
    """One unary call: RFC 9113's frames, headers that need no table to write (RFC 7541, 6.2.2).

    To read a status takes such a table. To see that a call failed takes none: no message comes.
    """
    if not question["call"]:
        return True, "gRPC; no call is known that makes it go on"
    message = encode(json.loads(str(question["message"])))
    headers = {"te": "trailers", "content-type": "application/grpc", **question["headers"]}
    block = b"\x83\x86" + b"\x04" + text("/" + str(question["call"])) + b"\x01" + text("party")
    block += b"".join(b"\0" + text(name) + text(value) for name, value in headers.items())
    connection.sendall(
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
        + frame(4, 0, 0, b"")
        + frame(1, 4, 1, block)
        + frame(0, 1, 1, b"\0" + struct.pack(">I", len(message)) + message)
    )
    answer = b""
    while True:
        head = reader.read(9)
        if len(head) < 9:
            return False, "the connection was closed"
        kind, flags = head[3], head[4]
        payload = reader.read(int.from_bytes(head[:3], "big"))
        if kind in (4, 6) and not flags & 1:  # SETTINGS and PING want an acknowledgement
            connection.sendall(frame(kind, 1, 0, payload if kind == 6 else b""))
        elif kind == 0:
            answer += payload
        elif kind in (3, 7):
            return False, "the call was broken off"
        if kind in (0, 1) and flags & 1:
            if answer and question["says"].encode() not in answer:
                return False, f"an answer without {question['says']}"
            return bool(answer), f"an answer of {len(answer) - 5} bytes" if answer else "the call failed"


def text(value: str) -> bytes:
    """A string of HPACK, not compressed (RFC 7541, 5.2); from 127 on, the rest of its length is as protobuf has it."""
    length = len(value.encode())
    return (struct.pack("B", length) if length < 127 else b"\x7f" + varint(length - 127)) + value.encode()


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


def probe_all(asked: "list[Question]") -> "list[tuple[bool, bool, str]]":
    """Every question, those to one component in their order: a later one may build on an earlier one."""
    answers = {}

    def ask(component: str) -> None:
        for number, question in enumerate(asked):
            if question["from"] == component:
                answers[number] = probe(question)

    components = {question["from"] for question in asked}
    with ThreadPoolExecutor(len(components)) as pool:
        list(pool.map(ask, components))
    return [answers[number] for number in range(len(asked))]


if __name__ == "__main__":
    print(json.dumps(probe_all(json.loads(sys.argv[1]))))
