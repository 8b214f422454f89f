"""How ``.env``, ``.env.local`` and the flags become settings, and what is said about what is wrong."""

from __future__ import annotations

import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from generator.config.env import parse_settings
from generator.config.settings import Settings
from generator.errors import InputError, Problem
from tests.fate_plan import packaged_line, problems_of

KEYS = packaged_line("1.3").keys
REQUIRED = "PREFIX=federatedai\nBASE_TAG=b\nTAG=t\n"


def parsed(extra: str = "", **options: object) -> Settings:
    """The settings of a file with the required keys in its first three lines, and no warning."""
    settings, warnings = parse_settings(REQUIRED + extra, KEYS, **options)  # type: ignore[arg-type]
    assert warnings == ()
    return settings


def problems(text: str, **options: object) -> list[str]:
    return problems_of(lambda: parse_settings(text, KEYS, **options))  # type: ignore[arg-type]


def problem(extra: str, **options: object) -> str:
    """The one problem of a file whose fourth line is ``extra``."""
    (only,) = problems(REQUIRED + extra, **options)
    return only


def test_the_place_of_each_key_is_kept() -> None:
    settings = parsed("\n# a comment\n\nSBOM=yes\n", sets=["TAG=x"])
    places = [settings.where(key) for key in ("PREFIX", "SBOM", "TAG", "PLATFORMS")]
    assert places == [".env:1", ".env:7", "--set", ".env"]


def test_a_flag_that_repeats_the_file_changes_no_place() -> None:
    """CI may always give the tag: it is the release's all the same, which uncommitted sources must not become."""
    assert parsed(sets=["TAG=t"]).where("TAG") == ".env:3"


def test_sources_and_images_are_named_as_in_the_catalogue_and_sorted() -> None:
    settings = parsed("LMDB_SAFE_SOURCE=../lmdb-safe\nFATE_SOURCE=/src/fate\nMYSQL_IMAGE=mysql:8.0.28\n")
    assert settings.sources == (("FATE_SOURCE", "/src/fate"), ("LMDB_SAFE_SOURCE", "../lmdb-safe"))
    assert settings.images == (("MYSQL_IMAGE", "mysql:8.0.28"),)
    places = [settings.where(key) for key in ("FATE_SOURCE", "LMDB_SAFE_SOURCE", "MYSQL_IMAGE")]
    assert places == [".env:5", ".env:4", ".env:6"]


def test_a_password_is_not_shown_when_settings_are_printed() -> None:
    settings = parsed(local_text="HTTP_PROXY=http://u:hunter2@p:1\nHTTPS_PROXY=http://u:hunter2@p:1")
    assert settings.http_proxy == settings.https_proxy == "http://u:hunter2@p:1"
    assert "hunter2" not in repr(settings)


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("FATE_SOURCE=a.txt", "a.txt"),
        ("FATE_SOURCE = a.txt", "a.txt"),
        ("  FATE_SOURCE=a.txt  ", "a.txt"),
        ("export FATE_SOURCE=a.txt", "a.txt"),
        ("FATE_SOURCE=a.txt # why", "a.txt"),
        ("FATE_SOURCE=a.txt#1", "a.txt#1"),
        ("FATE_SOURCE=a b.txt", "a b.txt"),
        ("FATE_SOURCE='a # b.txt'", "a # b.txt"),
        ('FATE_SOURCE="a # b.txt" # why', "a # b.txt"),
        (r"FATE_SOURCE=a\tb", r"a\tb"),
        (r"FATE_SOURCE='a\t\'b'", r"a\t'b"),
        (r'FATE_SOURCE="a\\\"b"', r"a\"b"),
        ("FATE_SOURCE=$HOME/a.txt", "$HOME/a.txt"),
        ("FATE_SOURCE=a=b", "a=b"),
        ("FATE_SOURCE=données/中.txt", "données/中.txt"),
        ("FATE_SOURCE=", ""),
        ("FATE_SOURCE= # none", ""),
        ("FATE_SOURCE=./#1", "./#1"),
        ('FATE_SOURCE=""', ""),
        ("FATE_SOURCE='  '", ""),
        ("#FATE_SOURCE=a.txt", ""),
    ],
)
def test_quotes_comments_and_export(line: str, value: str) -> None:
    assert [read for _, read in parsed(line).sources] == [value] * bool(value)


@pytest.mark.parametrize(
    ("text", "local", "said"),
    [
        (f"{REQUIRED}SBOM=1\rMY_KEY=a\n", "NO_PROXY=a\rHTTP_PROXY=http://b\r", ".env:4: has a lone carriage return, "
         "which ends no line for buildx: save it with LF or CRLF line endings"),
        (f"\ufeff{REQUIRED}", "\ufeffNO_PROXY=a", ".env:1: begins with a byte order mark, which buildx cannot read: "
         "save it as UTF-8 without one"),
    ],
)  # fmt: skip
def test_what_only_the_file_that_buildx_reads_too_must_not_have(text: str, local: str, said: str) -> None:
    assert problems(text) == [said]
    assert parsed(local_text=local).no_proxy == "a"


@pytest.mark.parametrize("value", ["a$", "$1", "$$$", '"$ "'])
def test_a_dollar_that_buildx_cannot_read_is_refused(value: str) -> None:
    wrong = "buildx also reads this file, and cannot parse this value: put a value with $ into single quotes"
    assert problem(f"FATE_SOURCE={value}\n") == f".env:4: FATE_SOURCE: {wrong}"
    for before in ("", "\n", "# comment\n\n"):
        assert [read for _, read in parsed(f"{before}FATE_SOURCE='{value}'\n").sources] == [value]


@pytest.mark.parametrize("extra", ["TAG", "export TAG", "TAG\n=x"])
def test_a_key_without_a_value_is_an_error(extra: str) -> None:
    assert problems("PREFIX=a\nBASE_TAG=b\n" + extra)[0].startswith(".env:3: TAG: no value: expected KEY=value")


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        *((line, ".env:4: expected KEY=value; a key has letters, digits and _") for line in (
            "hunter2", "http://u:hunter2@h/?a=b", "a-hunter2=b", "é=hunter2", "1A=hunter2")),
        *((line, ".env:4: expected KEY=value (is a closing quote missing, or is there text after it?)") for line in (
            'SBOM="yes', "SBOM='yes", 'SBOM="yes" no')),
        ("\n\nSBOM='yes'no", ".env:6: expected KEY=value (is a closing quote missing, or is there text after it?)"),
        ('REQUIREMENTS="a\nSBOM="\n', ".env:4: REQUIREMENTS: a value must be on one line"),
        *((f"REQUIREMENTS={value}", '.env:4: REQUIREMENTS: "${" is not allowed') for value in (
            "${version}-release", "'${version}'", '"a${"', "a$${b}")),
        *((f"REQUIREMENTS=a{char}b", f".env:4: REQUIREMENTS: the character U+{ord(char):04X} is not allowed")
          for char in "\x00\x1b\x7f\u200b\u202e"),
        ("REQUIREMENTS=cafe\u0301.txt", ".env:4: REQUIREMENTS: it is not in Unicode NFC form"),
        *((line, ".env:4: buildx also reads this file, and cannot parse this line: ") for line in (
            "'SBOM'=1", "MY_KEY= ''\x1c", "MY_KEY=\xa0''", "\x1cSBOM=1", "SBOM\u2003=1", "export\u2003SBOM=1")),
        *((f"MY_KEY={value}\n", ".env:4: MY_KEY: buildx also reads this file") for value in (
            "${", "${a", '"${"', " # ${", "a\t# ${")),
        ("TAG=other", ".env:4: TAG: set twice, first at .env:3; keep one"),
        ("PLATFROMS=x", ".env:4: PLATFROMS: unknown key; did you mean PLATFORMS?"),
        ("tag=x", ".env:4: tag: unknown key; did you mean TAG?"),
        ("TGA=x", ".env:4: TGA: unknown key; did you mean TAG?"),
        ("PIP_INDEX=x", ".env:4: PIP_INDEX: unknown key; did you mean PIP_INDEX_URL?"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_line_and_without_a_password(extra: str, expected: str) -> None:
    said = problem(extra)
    assert said.startswith(expected)
    assert "hunter2" not in said


def test_an_error_does_not_shift_the_lines_after_it() -> None:
    text = (REQUIRED + "what is this\n\nSBOM=perhaps\n").replace("\n", "\r\n")
    assert [p.split(": ")[0] for p in problems(text)] == [".env:4", ".env:6"]


def test_every_missing_key_is_named() -> None:
    assert problems("") == [
        ".env: PREFIX is required: registry and path in front of every image name, such as PREFIX=federatedai",
        ".env: BASE_TAG is required: tag of the base images, such as BASE_TAG=1.3.0-release",
        ".env: TAG is required: tag of the components, such as TAG=1.3.0-release",
    ]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        *((value, "TAG: is required but empty") for value in ("", '""', "' '", " # later")),
        ("'t", "expected KEY=value (is a closing quote missing, or is there text after it?)"),
    ],
)
def test_a_required_key_that_is_empty_or_broken_is_not_missing_too(value: str, said: str) -> None:
    assert problems(f"PREFIX=a\nBASE_TAG=b\nTAG={value}\n") == [f".env:3: {said}"]


@pytest.mark.parametrize("key", ["SERVING_TAG", "MYSQL_VERSION", "COMPOSE_PROJECT_NAME", "SSH_PORT", "MY_OWN"])
def test_another_unknown_key_is_a_warning_and_with_strict_an_error(key: str) -> None:
    settings, warnings = parse_settings(REQUIRED + f"{key}=hunter2\n", KEYS)
    assert settings == parsed()
    assert [str(warning).split(";")[0] for warning in warnings] == [f".env:4: {key}: unknown key"]
    assert "hunter2" not in str(warnings)
    assert problem(f"{key}=hunter2", strict=True).startswith(f".env:4: {key}: unknown key")


def test_all_problems_come_at_once_in_the_order_of_their_lines() -> None:
    with pytest.raises(InputError) as caught:
        parse_settings("PREFIX=federatedai\nBASE_TAG=1.3.0 release\n\n\n\n\nPLATFROMS=x\nwhat\nTAG=t", KEYS)
    assert caught.value.render() == (
        "error: 3 problems in .env\n"
        '  .env:2: BASE_TAG: "1.3.0 release" is not an image tag: a space is not allowed '
        '(letters, digits, ".", "_", "-", at most 128)\n'
        "  .env:7: PLATFROMS: unknown key; did you mean PLATFORMS?\n"
        "  .env:8: expected KEY=value; a key has letters, digits and _"
    )


def test_problems_of_several_files_are_not_said_to_be_in_one() -> None:
    with pytest.raises(InputError) as caught:
        parse_settings(REQUIRED + "SBOM=x", KEYS, local_text="TAG=x", sets=["TAG=-"])
    assert caught.value.message.startswith("3 problems\n  .env:4: SBOM")
    assert [p.where for p in caught.value.problems] == [".env:4", ".env.local:1", "--set"]


@pytest.mark.parametrize(
    "key", ["TAG", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "APT_MIRROR", "FATE_SOURCE", "MY_OWN", "CACHE_TO"]
)
def test_env_local_may_hold_only_what_is_never_rendered(key: str) -> None:
    assert problem("", local_text=f"\n{key}=https://user:hunter2@h/") == (
        f".env.local:2: {key}: is not allowed in .env.local: only bake reads that file, so it may have only "
        "CA_BUNDLE, MAVEN_SETTINGS, PIP_NETRC, HTTP_PROXY, HTTPS_PROXY, NO_PROXY"
    )


@pytest.mark.parametrize("key", ["HTTP_PROXY", "HTTPS_PROXY"])
def test_a_proxy_with_a_login_belongs_in_env_local(key: str) -> None:
    line = f"{key}=http://user:hunter2@proxy:3128"
    assert problem(line).startswith(f".env:4: {key}: it has a login, which belongs in .env.local")
    assert problem("", sets=[line]).startswith(f"--set: {key}: it has a login")
    assert parsed(local_text=line).where(key) == ".env.local:1"


@pytest.mark.parametrize("key", ["PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "APT_MIRROR"])
def test_an_index_with_a_login_belongs_nowhere(key: str) -> None:
    assert "stays in the image's history" in problem(f"{key}=https://user:hunter2@h/simple")


@pytest.mark.parametrize("url", ["http://u:hunter2@h:1", "http://u:hunter2@[h", "http://u:hunter2 @h", "//u:hunter2@h"])
def test_no_message_repeats_a_password(url: str) -> None:
    for line in (f"{key}={url}" for key in [*KEYS.names, "UNKNOWN", "PLATFROMS"]):
        for text, options in ((line, {}), ("", {"local_text": line}), ("", {"sets": [line]})):
            try:
                _, warnings = parse_settings(REQUIRED + text, KEYS, **options)
                said = str(warnings)
            except InputError as error:
                said = error.render()
            assert "hunter2" not in said, line


def test_set_wins_over_env_local_and_that_over_env_and_the_last_set_wins() -> None:
    settings = parsed(
        "HTTP_PROXY=http://a:1\nHTTPS_PROXY=http://a:1\nSBOM=1\nNO_PROXY=a",
        local_text="HTTP_PROXY=http://b:2\nHTTPS_PROXY=\nNO_PROXY=b",
        sets=["TAG=x", "TAG=y", "NO_PROXY=c", "SBOM="],
    )
    assert (settings.http_proxy, settings.where("HTTP_PROXY")) == ("http://b:2", ".env.local:1")
    assert (settings.https_proxy, settings.tag, settings.no_proxy, settings.sbom) == ("", "y", "c", False)
    settings, _ = parse_settings("PREFIX=a\nBASE_TAG=b", KEYS, sets=["TAG=t", "REQUIREMENTS='a' # b"])
    # a required key, and a value taken as it is
    assert (settings.tag, settings.other("REQUIREMENTS")) == ("t", "'a' # b")


@pytest.mark.parametrize(
    ("flag", "text", "expected"),
    [
        ("sets", "TAG", "--set: expected KEY=value"),
        ("sets", "a b=c", "--set: expected KEY=value"),
        ("sets", "TAG=", "--set: TAG: is required but empty"),
        ("sets", "TAG=a b", '--set: TAG: "a b" is not an image tag'),
        ("sets", "REQUIREMENTS=a\nb", "--set: REQUIREMENTS: a value must be on one line"),
        ("sets", "MY_OWN=x", "--set: MY_OWN: unknown key"),
        *(("source_sets", text, "--source: expected NAME=DIR") for text in (
            "fate", "fate=", "=x", "FATE=x", "lmdb__safe=x", "a b=x")),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_flag_is_said(flag: str, text: str, expected: str) -> None:
    assert problem("", **{flag: [text]}).startswith(expected)


def test_source_replaces_a_source() -> None:
    settings = parsed("LMDB_SAFE_SOURCE=a", sets=["LMDB_SAFE_SOURCE=b"], source_sets=["lmdb-safe=../c"])
    assert settings.sources == (("LMDB_SAFE_SOURCE", "../c"),)
    assert settings.where("LMDB_SAFE_SOURCE") == "--source"


def test_the_sample_is_a_good_file_with_the_defaults() -> None:
    settings, warnings = parse_settings(KEYS.sample_env(), KEYS)
    assert (settings, warnings) == (Settings("federatedai", "1.3.0-release", "1.3.0-release", "1.3.0"), ())
    assert parse_settings(KEYS.sample_env(PREFIX="r.io/x"), KEYS)[0].prefix == "r.io/x"
    assert parsed() == Settings("federatedai", "b", "t", "1.3.0"), "three keys are enough"


def test_a_sample_with_every_line_in_use_says_the_same() -> None:
    text = re.sub(r"(?m)^#([A-Z])", r"\1", KEYS.sample_env())
    assert all(f"\n{name}=" in text for name in KEYS.names)
    assert parse_settings(text, KEYS) == parse_settings(KEYS.sample_env(), KEYS)


def test_every_example_is_allowed_and_every_key_is_found() -> None:
    for row in KEYS.rows:
        if row.example:
            row.read(row.example)
    assert all(KEYS.find(name) for name in KEYS.names)


_LINES = st.one_of(
    st.builds(
        lambda key, equals, quote, value, end: f"{key}{equals}{quote}{value}{quote}{end}",
        st.sampled_from([*KEYS.names, "MY_OWN", "tag", "", "export TAG"]),
        st.sampled_from(["=", " = ", "", "=="]),
        st.sampled_from(["", "'", '"']),
        st.one_of(
            st.sampled_from([row.example or row.default for row in KEYS.rows]),
            st.text(alphabet=string.printable, max_size=12),
            st.text(max_size=8),
        ),
        st.sampled_from(["", "'", '"', " # why", "\\", "\n", "\r"]),
    ),
    st.text(max_size=20),
)
_FILES = st.lists(_LINES, max_size=8).map("\n".join)


@given(_FILES, st.lists(_LINES, max_size=2), st.one_of(st.just(""), _FILES), st.booleans())
def test_no_text_raises_anything_but_an_input_error(text: str, sets: list[str], local: str, strict: bool) -> None:
    try:
        settings, warnings = parse_settings(text, KEYS, sets=sets, source_sets=sets, local_text=local, strict=strict)
    except InputError as error:
        assert error.problems
    else:
        assert isinstance(settings, Settings)
        assert all(isinstance(w, Problem) for w in warnings)


@given(st.lists(_LINES, max_size=3).map("\n".join))
def test_an_accepted_file_says_the_same_with_crlf(extra: str) -> None:
    def outcome(text: str) -> object:
        try:
            settings, warnings = parse_settings(text, KEYS)
        except InputError as error:
            return error.problems
        return settings, settings.origins, warnings

    with_lf = (REQUIRED + extra).replace("\r\n", "\n").replace("\r", "\n")
    assert outcome(with_lf) == outcome(with_lf.replace("\n", "\r\n"))
    if "\r" not in extra.replace("\r\n", ""):
        assert outcome(REQUIRED + extra) == outcome(with_lf)
