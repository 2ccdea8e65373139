"""The conformance kit of plugtune, run on this plugin."""

import sqlite3

import pytest
from plugtune import Conversation, Message
from plugtune.testkit import FormatTests, PluginTests, SourceTests


class TestPlugin(PluginTests):
    plugin = "call-centre"


class TestFormat(FormatTests):
    plugin, name = "call-centre", "call-centre"
    good = [
        (
            {"caller_text": "My line is dead.", "agent_text": "We check it.", "briefing": "Be kind.", "private": "no"},
            Conversation(
                (
                    Message("system", "Be kind."),
                    Message("user", "My line is dead."),
                    Message("assistant", "We check it."),
                )
            ),
        ),
        ({"caller_text": "Hello?", "agent_text": "Hello.", "briefing": "", "private": ""}, None),
    ]
    bad = [
        ({"caller_text": "Hello?", "agent_text": " ", "private": "no"}, "agent_text"),
        ({"caller_text": "Hello?", "agent_text": "Hello.", "private": "perhaps"}, "private"),
    ]


class TestSql(SourceTests):
    plugin, name = "call-centre", "sql"
    settings = {"table": "calls"}
    rows = 3

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def data_base(cls, tmp_path_factory):
        file = tmp_path_factory.mktemp("db") / "calls.db"
        with sqlite3.connect(file) as base:
            base.execute("CREATE TABLE calls (call_id INTEGER PRIMARY KEY, caller_text TEXT, agent_text TEXT)")
            base.executemany(
                "INSERT INTO calls VALUES (?, ?, ?)", [(n, f"Question {n}", f"Answer {n}") for n in (3, 1, 2)]
            )
        cls.address = f"sqlite:///{file}"
