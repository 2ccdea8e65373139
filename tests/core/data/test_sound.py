"""What any format hands over is checked: roles, their order, real answers. The place of the mistake is named."""

from __future__ import annotations

import pytest
from plugtune import Conversation, Document, Feedback, Message, Preference, RowError, ToolCall
from plugtune.data.sound import check_record

ASK, SAY = Message("user", "Hello?"), Message("assistant", "Yes.")
CALL = Message("assistant", "", (ToolCall("f", {}),))


def chat(*messages):
    return Conversation(messages)


@pytest.mark.parametrize(
    "record",
    [
        chat(ASK, SAY),
        chat(Message("system", ""), ASK, SAY, ASK, SAY),
        chat(ASK, ASK, SAY),
        chat(ASK, CALL, Message("tool", "1"), Message("tool", "2"), SAY),
        chat(ASK, Message("assistant", "", train=False), ASK, SAY),
        Preference(chat(ASK), SAY, SAY),
        Feedback(chat(ASK, SAY), True),
        Document("Once."),
    ],
)
def test_records_that_can_be_learnt_from_are_taken(record):
    check_record(record)


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (chat(), ["messages", "no messages"]),
        (chat(SAY, ASK), ["messages[1]", "where a question is expected"]),
        (chat(ASK, SAY, SAY), ["messages[3]", "where a question is expected"]),
        (chat(ASK), ["messages", "last message must be an answer"]),
        (chat(ASK, Message("system", "x"), SAY), ["messages[2]", "after the first place"]),
        (chat(ASK, Message("assistant", " ")), ["messages[2]", "the answer is empty"]),
        (chat(ASK, Message("agent", "Yes.")), ["messages[2]", "unknown role 'agent'"]),
        (chat(ASK, Message("assistant", 4)), ["messages[2]", "expected text, found int"]),
        (chat(ASK, {"role": "assistant"}), ["messages[2]", "expected a plugtune.Message, found dict"]),
        (Preference(chat(ASK, SAY), SAY, SAY), ["must end before the answer"]),
        (Preference(chat(ASK), SAY, Message("assistant", "")), ["rejected", "the answer is empty"]),
        (Preference(chat(ASK), "Yes.", SAY), ["chosen", "expected an answer, found str"]),
        (Feedback(chat(ASK), False), ["last message must be an answer"]),
        (Document(" "), ["text", "empty"]),
    ],
)
def test_others_are_refused_with_the_message_and_the_reason(record, words):
    with pytest.raises(RowError) as caught:
        check_record(record)
    assert all(word in str(caught.value) for word in words), caught.value
