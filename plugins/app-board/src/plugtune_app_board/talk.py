"""The model that the chat page talks to: one at a time, loaded and let go on request. Knows no components."""

from __future__ import annotations

import gc
import json
import os
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from plugtune.data.records import Conversation, Message
from plugtune.errors import RequestError
from plugtune.options.reader import Given, Request

from plugtune_app_board.boxes import chosen
from plugtune_app_board.compose import Composer, Values
from plugtune_app_board.vet import check

THOUGHT = re.compile(r"\s*<think>(.*?)</think>\s*", re.DOTALL)


class Talk:
    """Holds the loaded model of a board.

    Args:
        composer: turns the page's choice of a model into options, and checks them.
    """

    def __init__(self, composer: Composer) -> None:
        self.composer = composer
        self.engine: Any = None
        self.title = ""
        self._lock = threading.Lock()

    @property
    def loaded(self) -> bool:
        """Whether there is a model to talk to."""
        return self.engine is not None

    def load(self, values: Values) -> str:
        """Load the model on the page; returns what was loaded.

        Raises:
            RequestError: something is wrong with the choice, or another load or answer is going on.
        """
        options, problems = self.composer.model(values)
        options |= chosen(values, "infer", "infer_dtype", nothing=("auto",))
        options["enable_thinking"] = bool(values.get("infer.enable_thinking", True))
        options |= _json_object(values.get("infer.extra_args"), "infer.extra_args")
        check(self.composer.host, self.composer.settings, options, problems)
        env = self.composer.environment({**values, "train.devices": [], "train.processes": 0})
        return self.open(options, env)

    def open(self, options: Mapping[str, Any], env: Mapping[str, str] | None = None) -> str:
        """Load a model by options that were checked."""
        from plugtune.inference.engine import open_engine
        from plugtune.inference.export import TemplateChoice
        from plugtune.options.groups import ModelOptions
        from plugtune.options.resolve import resolve

        groups: dict[str, type] = {"model": ModelOptions, "template": TemplateChoice}
        built = resolve(Request({k: Given(v, k) for k, v in options.items()}), groups).groups
        with self._alone(), _environment(env or {}):
            self._forget()
            self.engine = open_engine(built["model"], built["template"], self.composer.host)
        adapters = built["model"].adapter_name_or_path
        self.title = " + ".join([str(built["model"].model_name_or_path), *adapters])
        return self.title

    def unload(self) -> None:
        """Let the model go and give its memory back."""
        with self._alone():
            self._forget()

    def _forget(self) -> None:
        self.engine, self.title = None, ""
        gc.collect()
        import sys

        torch = sys.modules.get("torch")
        if torch is not None and torch.cuda.is_available():
            torch.cuda.empty_cache()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        if not self._lock.acquire(timeout=30):
            raise RequestError("the model is busy", where="chat", fix="wait for its answer, or stop it")
        try:
            yield
        finally:
            self._lock.release()

    def ask(
        self, messages: Sequence[Mapping[str, Any]], *, system: str, tools: str, generation: Mapping[str, Any],
        seed: int | None,
    ) -> Iterator[str]:  # fmt: skip
        """The answer to a conversation, longer with every piece; closing the iterator ends it.

        Raises:
            RequestError: no model is loaded, or the tools are no JSON list.
        """
        from plugtune.options.groups import GenerationOptions
        from plugtune.options.resolve import resolve

        if self.engine is None:
            raise RequestError("no model is loaded", where="chat", fix="press Load model")
        given = {k: Given(v, k) for k, v in generation.items() if v not in (None, "")}
        options = resolve(Request(given), {"generation": GenerationOptions}).groups["generation"]
        turns = [Message("system", system)] if system.strip() else []
        conversation = Conversation((*turns, *(message_of(m) for m in messages)), tuple(tools_of(tools)))
        with self._alone():
            text = ""
            for piece in self.engine.stream(conversation, options, seed=seed):
                text += piece
                yield text


def message_of(entry: Mapping[str, Any]) -> Message:
    """A message as the chat component holds it; thoughts that were shown folded are told apart again."""
    role, content = str(entry.get("role")), text_of(entry.get("content"))
    if role != "assistant":
        return Message("tool" if content_role(entry) == "observation" else "user", content)
    found = THOUGHT.match(content)
    return Message(
        "assistant", content[found.end() :] if found else content, reasoning=found.group(1).strip() if found else None
    )


def content_role(entry: Mapping[str, Any]) -> str:
    """`observation` for what a tool answered, else the role."""
    metadata = entry.get("metadata") or {}
    return "observation" if metadata.get("title") == "observation" else str(entry.get("role"))


def text_of(content: Any) -> str:
    """The text of a message, which a page may hand back in parts."""
    if isinstance(content, str):
        return content
    if isinstance(content, (list, tuple)):
        return "".join(text_of(part) for part in content)
    return str(content.get("text", "")) if isinstance(content, Mapping) else ""


def tools_of(text: str) -> list[dict[str, Any]]:
    """Tools in the OpenAI shape out of the page's box.

    Raises:
        RequestError: it is no JSON list of objects, each with a name.
    """
    if not str(text or "").strip():
        return []
    try:
        tools = json.loads(text)
    except ValueError as error:
        raise RequestError("the tools are not JSON", where="infer.tools", why=str(error)) from error
    if not isinstance(tools, list) or not all(isinstance(tool, dict) for tool in tools):
        raise RequestError("the tools are no JSON list of objects", where="infer.tools")
    for number, tool in enumerate(tools, 1):
        if not (tool.get("function") or tool).get("name"):
            raise RequestError(f"tool {number} has no name", where="infer.tools")
    return tools


def _json_object(text: Any, where: str) -> dict[str, Any]:
    if text is None or not str(text).strip():
        return {}
    try:
        values = json.loads(str(text))
    except ValueError as error:
        raise RequestError("this is not JSON", where=where, why=str(error)) from error
    if not isinstance(values, dict):
        raise RequestError("a JSON object is wanted", where=where)
    return {str(key).replace("-", "_"): value for key, value in values.items()}


@contextmanager
def _environment(env: Mapping[str, str]) -> Iterator[None]:
    """Variables that choose the hub, while a model is looked up."""
    before = {name: os.environ.get(name) for name in env}
    os.environ.update(env)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
