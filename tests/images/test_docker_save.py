"""What is asked of which ``docker save``: images that share layers of one, so that they come once."""

from __future__ import annotations

from generator.images.docker_save import shared_out

JAVA = {f"java-{n}": ("debian", "jre", "user", f"jar-{n}") for n in range(5)}
PYTHON = {f"python-{n}": ("debian", "python", f"code-{n}") for n in range(2)}
OTHERS = {"redis": ("debian", "redis"), "mysql": ("debian", "client", "server")}


def test_images_that_share_more_than_the_lowest_layer_stay_together() -> None:
    assert shared_out({**JAVA, **PYTHON}, 2) == [list(JAVA), list(PYTHON)]


def test_each_stream_has_about_as_many_layers() -> None:
    assert shared_out({**OTHERS, **JAVA, **PYTHON}, 2) == [list(JAVA), [*PYTHON, "mysql", "redis"]]


def test_images_of_one_base_need_one_stream() -> None:
    assert shared_out(JAVA, 4) == [list(JAVA)]


def test_there_are_no_more_streams_than_asked_for() -> None:
    assert shared_out({**OTHERS, **JAVA, **PYTHON}, 1) == [[*JAVA, *PYTHON, "mysql", "redis"]]


def test_an_image_without_layers_has_a_stream_as_well() -> None:
    assert shared_out({"scratch": ()}, 2) == [["scratch"]]
