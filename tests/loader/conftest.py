from tests.bundle.conftest import file, made, sources

__all__ = ["file", "made", "sources"]
