"""Stories over several modules, on the loopback server."""

from served_fixtures import embedder, reranker, time_enough

__all__ = ["embedder", "reranker", "time_enough"]
