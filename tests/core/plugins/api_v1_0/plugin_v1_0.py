"""A plugin as it was written for plugin API 1.0. Never edited: it must go on loading and working."""

from __future__ import annotations

from dataclasses import dataclass

import plugtune


@dataclass
class Options:
    old_share: float = plugtune.option(0.5, help="An option of the old plugin.", minimum=0, maximum=1)


@plugtune.hookimpl
def plugtune_templates():
    return [plugtune.ChatTemplate(name="old-template", summary="Written for API 1.0", user=("Q {{content}} A ",))]


@plugtune.hookimpl
def plugtune_formats():
    return [
        plugtune.DatasetFormat(
            name="old-format",
            summary="Written for API 1.0",
            columns={"prompt": "question", "response": "answer"},
            convert="plugin_v1_0:make_converter",
        )
    ]


def make_converter(columns, tags, *, kind):
    def convert(row):
        if not row.get(columns["response"]):
            raise plugtune.RowError("it is empty", field=columns["response"])
        messages = (
            plugtune.Message("user", row[columns["prompt"]]),
            plugtune.Message("assistant", row[columns["response"]]),
        )
        return plugtune.Conversation(messages)

    return convert


@plugtune.hookimpl
def plugtune_stages():
    return [
        plugtune.Stage(
            name="old-stage",
            summary="Written for API 1.0",
            rows="conversation",
            options=Options,
            encoder="plugin_v1_0:make_encoder",
            trainer="plugin_v1_0:build_trainer",
        )
    ]


def make_encoder(context):
    from plugtune.data.conversation_encoder import ConversationEncoder

    return ConversationEncoder(context)


def build_trainer(context):
    from plugtune.training.trainer import PlugtuneTrainer

    assert 0 <= context.plan.stage_options.old_share <= 1
    return PlugtuneTrainer(context)


@plugtune.hookimpl
def plugtune_configure_run(plan):
    plan.choose("old plugin", "was asked", "plugtune_configure_run of API 1.0")


@plugtune.hookimpl
def plugtune_callbacks(plan):
    return []


@plugtune.hookimpl
def plugtune_run_finished(report):
    (report.output_dir / "old-plugin.txt").write_text(report.plan.stage.name)
