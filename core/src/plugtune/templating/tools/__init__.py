"""Tool styles: how tools are described to a model, how its calls are written and how they are read back.

Each style turns tools and calls into text; the wrapping of results belongs to a template's `tool` pieces. The texts are
the formats that the models were trained on (as LLaMA-Factory and the models' own chat templates write them).
"""

from plugtune.templating.tools.bare import GLM4, Llama3, Mistral
from plugtune.templating.tools.elements import GLM4_MOE, MINIMAX_M2, QWEN3_5, SEED_OSS
from plugtune.templating.tools.gemma4 import Gemma4
from plugtune.templating.tools.lfm2 import LFM2
from plugtune.templating.tools.phi4 import Phi4Mini
from plugtune.templating.tools.react import ReAct
from plugtune.templating.tools.style import JinjaTools, ToolStyle
from plugtune.templating.tools.tags import LING, MINIMAX_M1, TOOL_CALL_TAGS

__all__ = ["STYLES", "STYLE_ALIASES", "JinjaTools", "ToolStyle"]

STYLES: dict[str, ToolStyle] = {
    "react": ReAct(),
    "tool_call_tags": TOOL_CALL_TAGS,
    "llama3": Llama3(),
    "mistral": Mistral(),
    "glm4": GLM4(),
    "glm4_moe": GLM4_MOE,
    "qwen3_5": QWEN3_5,
    "ling": LING,
    "lfm2": LFM2(),
    "gemma4": Gemma4(),
    "minimax1": MINIMAX_M1,
    "minimax2": MINIMAX_M2,
    "seed_oss": SEED_OSS,
    "phi4_mini": Phi4Mini(),
}
"""Tool style by the name that templates use."""

STYLE_ALIASES = {"default": "react", "qwen": "tool_call_tags"}
"""Names that LLaMA-Factory's `tool_format` uses, where they are others."""
