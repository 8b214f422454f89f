"""What a contract may hold in a catalogue file: ``contract`` reads by it, and it is part of catalogue/schema.json."""

from __future__ import annotations

import re

from generator.catalogue.shapes import Entries, Record, Shape, Text, Texts

_PATH = Text(
    "a path in the image, below its workdir unless it begins with /; * and ? stand for no /, ** for anything",
    pattern=r"[^\s].*",
    wrong="is not a path",
)
_VALUE = Text("its value, in which * stands for anything")


def _check_port(text: str) -> str:
    return "" if text.isdecimal() and 0 < int(text) < 65536 else f'"{text}" is not a port'


def _check_seconds(text: str) -> str:
    return "" if text.isdecimal() and text.isascii() else f'"{text}" is not a number of seconds'


def _check_expression(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        return f'"{text}" is not a regular expression ({error})'
    return ""


_PORT = Text("a TCP port", check=_check_port)

FILE = Record(
    "what the path is; nothing here: it is there",
    {
        "type": Text("what it is", choices=("file", "directory", "link"), wrong="is no type of a path"),
        "mode": Text("its permissions, in octal digits", pattern="[0-7]{3,4}", wrong='is not a mode, such as "644"'),
        "owner": Text("its numbers of user and group", pattern="[0-9]+:[0-9]+", wrong='is not an owner, such as "0:0"'),
        "target": Text("what a link points to, as it is written in the link; * stands for anything but /"),
    },
)

RUN = Record(
    "a command that is run in a container of the image, without network, and has to end with 0",
    {
        "command": Texts("the command, in place of the image's own", Text("a word")),
        "prints": Text("a regular expression that is found in what it prints", check=_check_expression),
        "within": Text("seconds; default: 120", check=_check_seconds),
    },
    required=("command",),
)

STARTED = Record(
    "how the image is started alone, and what it does then",
    {
        "answers": Texts("the ports that accept; default: ports", _PORT),
        "within": Text("seconds until they do; default: 60", check=_check_seconds),
        "environment": Entries("variables that the container gets", Text("its value")),
        "traces": Text("an expression in the stack traces that it may log, alone as it is", check=_check_expression),
    },
)

_KEYS: dict[str, Shape] = {
    "is": Texts("contracts that it has too; what is said here comes before them", Text("a name below contracts")),
    "files": Entries("what has to be there", FILE, _PATH),
    "mounted": Entries(
        "configuration that is mounted over: it is there, and a directory is tried read-only",
        Text("how", choices=("file", "directory"), wrong="is no kind of a mount"),
        _PATH,
    ),
    "absent": Entries("what may not be there", Text("what it would be; users are told"), _PATH),
    "setuid": Texts("what may be setuid or setgid; anything else may not", _PATH),
    "user": Text('the user that it runs as; "" is root'),
    "workdir": Text("the directory that it runs in", pattern="/.*", wrong="is not an absolute path"),
    "ports": Texts("all ports that it exposes; default: the port below with", _PORT),
    "labels": Entries("labels", _VALUE),
    "environment": Entries("environment variables", _VALUE),
    "command": Texts("the exact command; default: the command below with", Text("a word")),
    "entrypoint": Texts("the exact entrypoint", Text("a word")),
    "size": Text(
        "the most that its layers may hold, unpacked",
        pattern="[0-9]+ ?(?:MB|GB)",
        wrong="is not a size, such as 300 MB or 2 GB",
    ),
    "runs": Entries("commands that are run", RUN),
    "started": STARTED,
}

CONTRACT = Record(
    "what an image has to show: fategen verify checks it; ${image}, ${release}, ${tag} and ${source} (the URL of its "
    "home) stand for the image's own",
    _KEYS,
)
