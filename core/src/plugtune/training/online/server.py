"""Scores from an HTTP reward server, the way LLaMA-Factory asks one.

POST `{"model": "model", "messages": [text, …]}` (each text a prompt with its answer, special tokens included) →
`{"scores": [number, …]}`. Only http and https, with a time limit and two more tries when the server is busy or away.
"""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any

import torch

from plugtune.errors import RequestError, RunError
from plugtune.training.online.functions import checked
from plugtune.training.online.measure import Tokens

TRIES = 3
LARGEST = 64 * 2**20
"""Bytes of an answer that are read at most."""


@dataclass(frozen=True, slots=True)
class ServerReward:
    """Scores with a server.

    Attributes:
        address: where to post.
        timeout: seconds for one call.
        pause: seconds before the second try; doubled before the third.
    """

    address: str
    tokenizer: Any
    timeout: float = 60.0
    pause: float = 1.0

    def __post_init__(self) -> None:
        if not self.address.startswith(("http://", "https://")):
            raise RequestError(f"reward_model {self.address} is no address", where="reward_model")

    def __call__(self, prompts: Tokens, answers: Tokens) -> torch.Tensor:
        """Scores `(rows,)`.

        Raises:
            RunError: the server cannot be reached, refuses, or answers something else.
        """
        texts = [self.tokenizer.decode([*prompt, *answer]) for prompt, answer in zip(prompts, answers, strict=True)]
        body = json.dumps({"model": "model", "messages": texts}).encode()
        answer = self._post(body)
        try:
            values = list(json.loads(answer)["scores"])
        except (ValueError, KeyError, TypeError) as error:
            raise RunError(
                f"reward server {self.address} does not answer with scores",
                why=f"{type(error).__name__}: {error}; it said {answer[:200]!r}",
                fix='it must answer {"scores": [number for each message]}',
            ) from error
        return checked(values, len(texts), f"reward server {self.address}")

    def _post(self, body: bytes) -> bytes:
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.address, data=body, headers=headers, method="POST")
        for number in range(TRIES):
            try:
                with urllib.request.urlopen(request, timeout=self.timeout) as response:
                    return bytes(response.read(LARGEST))
            except urllib.error.HTTPError as error:
                if error.code not in (429, 502, 503, 504) or number == TRIES - 1:
                    said = error.read(200).decode("utf-8", "replace")
                    raise RunError(
                        f"reward server {self.address} answered {error.code} {error.reason}", why=said
                    ) from error
            except (urllib.error.URLError, TimeoutError, OSError) as error:
                if number == TRIES - 1:
                    raise RunError(
                        f"reward server {self.address} cannot be reached", why=str(getattr(error, "reason", error)),
                        fix="start it, or raise reward_timeout if it is slow",
                    ) from error  # fmt: skip
            time.sleep(self.pause * 2**number)
        raise AssertionError("unreachable")
