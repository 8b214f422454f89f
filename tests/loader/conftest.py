from tests.bundle.conftest import made, sources

__all__ = ["made", "sources"]
