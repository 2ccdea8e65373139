"""Which hub a model or a data set comes from, and with which token. The hubs themselves are plugins."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from plugtune.capabilities import Hub, load_ref
from plugtune.catalog import Catalog

DEFAULT = "huggingface"

DATASET_KEYS = {"hf_hub_url": "huggingface", "ms_hub_url": "modelscope"}
"""Keys of a dataset_info.json entry that hold an id on a hub, and that hub's name."""

SWITCH = re.compile(r"USE_([A-Z]+)_HUB")
"""What the variables that choose a hub are called."""


def chosen_hub(catalog: Catalog, wanted: str | None = None) -> Hub:
    """The hub that `--hub` names, else the one whose switch is set (`USE_MODELSCOPE_HUB=1`), else Hugging Face.

    Raises:
        PluginError: no installed plugin provides it.
    """
    switches = {hub.switch: hub.name for hub in catalog.all("hub") if hub.switch}
    # A hub that is switched on and not installed must be told, not passed over.
    asked = {name: match[1].lower() for name in os.environ if (match := SWITCH.fullmatch(name))}
    switched = (hub for name, hub in (asked | switches).items() if is_on(name))
    hub: Hub = catalog.get("hub", wanted or next(switched, DEFAULT))
    return hub


def is_on(variable: str) -> bool:
    """Whether an environment variable says yes."""
    return os.environ.get(variable, "").lower() in ("1", "true", "yes", "on")


def fetch_model(hub: Hub, repository: str, options: Any, catalog: Catalog) -> Path:
    """The local folder of a model's repository; `options` are `ModelOptions`.

    Raises:
        RequestError: the hub cannot be reached and the cache does not have it, or there is no such repository.
    """
    return Path(
        load_ref(hub.resolve)(
            repository, revision=options.model_revision, token=catalog.reveal(getattr(options, hub.token, None)),
            cache_dir=options.cache_dir, kind="model",
        )
    )  # fmt: skip


def hub_of_dataset(info: Mapping[str, Any], catalog: Catalog, wanted: str | None = None) -> tuple[Hub, str] | None:
    """Hub and id of a data set's entry: on the chosen hub when it is there, else on whichever has it.

    Raises:
        PluginError: no installed plugin provides the hub that is wanted.
    """
    ids = {hub: str(info[key]) for key, hub in DATASET_KEYS.items() if info.get(key)}
    if not ids:
        return None
    first = chosen_hub(catalog, wanted).name
    name = first if first in ids else next(iter(ids))
    return catalog.get("hub", name), ids[name]
