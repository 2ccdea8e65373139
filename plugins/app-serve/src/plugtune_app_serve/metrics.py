"""Numbers for Prometheus, in a registry of the server's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class Metrics:
    """What is counted."""

    def __init__(self, load: Callable[[], Any]) -> None:
        registry = self.registry = CollectorRegistry()
        self.requests = Counter(
            "plugtune_requests_total", "Requests answered.", ["path", "status"], registry=registry
        )  # fmt: skip
        self.prompt_tokens = Counter("plugtune_prompt_tokens_total", "Tokens of prompts.", registry=registry)
        self.answer_tokens = Counter("plugtune_generation_tokens_total", "Tokens of answers.", registry=registry)
        self.cancelled = Counter("plugtune_cancelled_total", "Requests whose client went away.", registry=registry)
        self.first_token = Histogram(
            "plugtune_time_to_first_token_seconds", "From a request to its first token.", buckets=SECONDS,
            registry=registry,
        )  # fmt: skip
        self.duration = Histogram(
            "plugtune_request_seconds", "From a request to its last token.", buckets=SECONDS, registry=registry
        )
        running = Gauge("plugtune_running", "Answers computed now.", registry=registry)
        running.set_function(lambda: load().running)
        waiting = Gauge("plugtune_waiting", "Answers that wait.", registry=registry)
        waiting.set_function(lambda: load().waiting)

    def text(self) -> bytes:
        """The numbers as Prometheus reads them."""
        return generate_latest(self.registry)
