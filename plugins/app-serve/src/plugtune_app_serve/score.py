"""`/v1/score/evaluation`: texts scored by a reward model, in the shape of LLaMA-Factory's server."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi.responses import JSONResponse, Response

from plugtune_app_serve.errors import ApiError
from plugtune_app_serve.schemas import ScoreRequest
from plugtune_app_serve.shapes import new_id
from plugtune_app_serve.state import Served


async def score(request: ScoreRequest, served: Served) -> Response:
    """One number for each text: the value head's at the text's last token.

    Raises:
        ApiError: no reward model is served, or a text is empty or too long.
    """
    if served.head is None:
        raise ApiError(405, "no reward model is served here; start the server with --stage rm")
    served.check_name(request.model)
    context = served.engine.context()
    rows = []
    for number, text in enumerate(request.messages):
        ids = list(served.engine.tokenizer(text, add_special_tokens=True)["input_ids"])
        ids = ids[: request.max_length] if request.max_length else ids
        if not ids or (context and len(ids) > context):
            raise ApiError(400, f"messages[{number}] has {len(ids)} tokens; 1 to {context} are read", param="messages")
        rows.append(ids)
    scores: list[float] = await asyncio.to_thread(served.scheduler.call, lambda: _scores(served, rows))
    served.metrics.prompt_tokens.inc(sum(map(len, rows)))
    body: dict[str, Any] = {"id": new_id("scoreval"), "object": "score.evaluation"}
    return JSONResponse(body | {"model": served.name_of(request.model), "scores": scores})


def _scores(served: Served, rows: list[list[int]]) -> list[float]:
    import torch
    from plugtune.modeling.value_head import trunk_of

    trunk = trunk_of(served.engine.model)
    scores = []
    with torch.no_grad():
        for ids in rows:
            hidden = trunk(input_ids=torch.tensor([ids], device=served.engine.model.device), use_cache=False)[0]
            scores.append(float(served.head(hidden[:, -1])))
    return scores
