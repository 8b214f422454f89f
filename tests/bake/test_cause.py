"""What is shown of a failed step: why, as maven, pip, apt, gcc and npm said it (data/causes has what they printed)."""

from __future__ import annotations

from pathlib import Path

import pytest

from generator.bake.cause import FIRST, LAST, SHOWN, WIDTH, cause

LOGS = Path(__file__).parent / "data" / "causes"
WHY = {
    "apt-not-found": ["E: Unable to locate package libfoo-nowhere", "E: Unable to locate package gcc-99"],
    "apt-unreachable": [
        "Err:1 http://nowhere.invalid/debian bookworm InRelease",
        "W: Failed to fetch http://nowhere.invalid/debian/dists/bookworm/InRelease  …",
        "E: Unable to locate package g+",
        "E: Couldn't find any package by regex 'g+'",
        "E: Unable to locate package make",
    ],
    "gcc": [
        "x.cc:2:10: fatal error: lmdb.h: No such file or directory",
        '2 | #include "lmdb.h"',
        "/usr/bin/ld: cannot find -llmdb-nowhere: No such file or directory",
        "y.cc:2:38: error: 'c' was not declared in this scope",
        "2 | int unused(int a){ int b; return b + c; }",
        "y.cc:3:29: error: conversion from 'double' to non-scalar type 'std::string' …",
        "3 | int main(){ std::string s = 3.2 return 0; }",
        "y.cc:3:33: error: expected ',' or ';' before 'return'",
    ],
    "ld": ["z.cc:(.text.startup+0x6): undefined reference to `there(int)'"],
    "maven-compile": [
        "/src/src/main/java/A.java:[1,11] cannot find symbol",
        "symbol:   class Missing",
        "location: class A",
        "/src/src/main/java/A.java:[1,39] incompatible types: java.lang.String cannot be converted to int",
        "Failed to execute goal org.apache.maven.plugins:maven-compiler-plugin:3.1:compile (default-compile) on …",
    ],
    "maven-dependency": [
        "Failed to execute goal on project board: Could not resolve dependencies for project com.example:board:jar:…"
    ],
    "maven-plugin": [
        "Failed to execute goal net.alchim31.maven:scala-maven-plugin:4.1.1:compile (scala-compile-first) on project "
        "eggroll-core: A required class was missing while executing net.alchim31.maven:scala-maven-plugin:4.1.1:"
        "compile: org/apache/logging/log4j/spi/LoggerAdapter",
        "org.apache.logging.log4j.spi.LoggerAdapter",
    ],
    "maven-pom": ["Non-readable POM /src/pom3.xml: no more data available - expected end tags …"] * 2,
    "npm-404": [
        "npm error 404 Not Found - GET https://registry.npmjs.org/hmac_sha1-nowhere-x",
        "npm error 404  The requested resource 'hmac_sha1-nowhere-x@1.0.0' could not be found or you do not …",
    ],
    "npm-eresolve": [
        "npm error ERESOLVE unable to resolve dependency tree",
        "npm error While resolving: pages@1.0.0",
        "npm error Found: react@16.0.0",
        "npm error Could not resolve dependency:",
        'npm error peer react@"17.0.0" from react-dom@17.0.0',
    ],
    "npm-script": ["Error: Cannot find module './missing-module'"],
    "npm-unreachable": [
        "npm error network request to https://nowhere.invalid/react failed, reason: getaddrinfo ENOTFOUND …"
    ],
    "pip-build": [
        "gmpy2x.c:2:10: fatal error: gmp_nowhere.h: No such file or directory",
        '2 | #include "gmp_nowhere.h"',
        "error: command '/usr/bin/gcc' failed with exit code 1",
        "ERROR: Failed building wheel for gmpy2x",
        "ERROR: Could not build wheels for gmpy2x, …",
    ],
    "pip-conflict": [
        "ERROR: Cannot install -r r2.txt (line 1) and urllib3==1.20 because these package versions have conflicting …",
        "The user requested urllib3==1.20",
        "requests 2.31.0 depends on urllib3<3 and >=1.21.1",
    ],
    "pip-hash": [
        "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE. …",
        "Expected sha256 0000000000000000000000000000000000000000000000000000000000000001",
        "Got        8abb2f1d86890a2dfb989f9a77cfcfd3e47c2a354b01111771326f8aa26e0254",
    ],
    "pip-metadata": ["setup.py needs Python 2"],
    "pip-no-version": [
        "ERROR: Could not find a version that satisfies the requirement opencv-python==3.2.0.7 (from versions: 3.4.…",
        "ERROR: No matching distribution found for opencv-python==3.2.0.7",
    ],
    "pip-unreachable": [
        "WARNING: Retrying (Retry(total=0, connect=None, read=None, redirect=None, status=None)) after connection …",
        "ERROR: Could not find a version that satisfies the requirement six (from versions: none)",
        "ERROR: No matching distribution found for six",
    ],
    "pip18-build": [
        "Running setup.py install for gmpy2x: finished with status 'error'",
        "gmpy2x.c:2:10: fatal error: gmp_nowhere.h: No such file or directory",
        '2 | #include "gmp_nowhere.h"',
        "error: command 'gcc' failed with exit status 1",
    ],
    "pip18-no-version": [
        "Could not find a version that satisfies the requirement opencv-python==3.2.0.7 (from -r r1.txt (line 1)) …",
        "No matching distribution found for opencv-python==3.2.0.7 (from -r r1.txt (line 1))",
    ],
}
"""By log: the lines that are shown; one that ends in "…" is longer."""


@pytest.mark.parametrize("log", [file.stem for file in sorted(LOGS.glob("*.txt"))])
def test_why_a_tool_failed_is_shown_and_nothing_else(log: str) -> None:
    shown = cause((LOGS / f"{log}.txt").read_text(encoding="utf-8").splitlines())
    assert len(shown) == len(WHY[log]), shown
    for line, expected in zip(shown, WHY[log], strict=True):
        assert line == expected or (expected.endswith("…") and line.startswith(expected[:-1]))
        assert len(line) <= WIDTH


def test_of_many_errors_the_first_and_the_last_are_shown() -> None:
    shown = cause([f"a.c:{number}: error: x" for number in range(100)])
    assert len(shown) == SHOWN + 1
    assert shown[0] == "a.c:0: error: x" and shown[FIRST] == "… 90 more" and shown[-1] == "a.c:99: error: x"


def test_of_a_tool_that_nobody_knows_the_last_lines_are_shown() -> None:
    lines = [f"line {number}" for number in range(100)]
    assert cause(lines) == lines[-LAST:]
    assert cause([]) == []
