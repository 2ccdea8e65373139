"""Counts the answers that a row wanted trained on and that the form of a template leaves as context."""

from __future__ import annotations

from plugtune.data.records import Conversation, RowError, TokenizedChat


def counted(chat: TokenizedChat | RowError, conversation: Conversation) -> TokenizedChat | RowError:
    """The result of encoding a conversation, with that count put in."""
    if isinstance(chat, TokenizedChat):
        wanted = sum(message.role == "assistant" and message.train for message in conversation.messages)
        chat.unlearnable = wanted - sum(chat.trained)
    return chat
