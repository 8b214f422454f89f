"""The reader of a page's console blocks."""

from __future__ import annotations

import pytest

from tests.e2e.console import matches, outside, steps

PAGE = """\
Text with $ a dollar.

```console
$ one
shown …

$ cat > file <<'EOF'
> $ text
>
> more
> EOF
$ three
error: no
```

```sh
$ not a command
```
"""


def test_the_commands_of_console_blocks_with_what_is_shown() -> None:
    one, two, three = steps(PAGE)
    assert (one.line, one.command, one.shown) == (4, "one", ["shown …", ""])
    assert two.command == "cat > file <<'EOF'\n$ text\n\nmore\nEOF"
    assert (three.command, three.fails, one.fails) == ("three", True, False)


@pytest.mark.parametrize(
    ("shown", "output", "same"),
    [
        (["a"], "a\n", True),
        (["a"], "ab\n", False),
        (["a"], "a\nb\n", False),
        (["a…"], "ab\n", True),
        (["a…"], "ab\nc\n", False),
        (["a", "…"], "a\nb\nc\n", True),
        (["a", "…"], "a\n", True),
        (["…", "c"], "a\nb\nc\n", True),
        (["…", "b"], "a\nb\nc\n", False),
        (["a  b"], "a     b\n", True),
        (["1.0"], "1x0\n", False),
        (["a", ""], "\na\n\n", True),
    ],
)
def test_what_is_shown_and_what_came(shown: list[str], output: str, same: bool) -> None:
    assert matches(shown, output) is same


@pytest.mark.parametrize(
    "command",
    [
        "mkdir -p /etc/docker/certs.d/x",
        "echo >/etc/hosts",
        "docker login harbor.example.com -u me",
        "echo PREFIX=10.0.0.5:8443/fate",
        "curl https://pypi.example.com/simple",
        "git clone https://github.com/someone/else.git",
    ],
)
def test_a_command_that_leads_off_the_sandbox_is_seen(command: str) -> None:
    assert outside(command)


@pytest.mark.parametrize(
    "command",
    [
        "cp ~/src/etc/x .",
        "git clone https://github.com/FederatedAI/FATE.git ../FATE",
        "echo NO_PROXY=localhost,.corp.example.com",
        "docker run localhost:5000/x",
        "ls 2> /dev/null",
    ],
)
def test_other_commands_are_not(command: str) -> None:
    assert outside(command) == ""
