"""The comparison of templates accepts no difference without a reason, and no reason without a difference."""

from __future__ import annotations

import importlib

import pytest
from plugtune.plugins.host import PluginHost

page = importlib.import_module("compare_templates_page")
rows = importlib.import_module("compare_templates_rows")


@pytest.fixture
def reasons(tmp_path, monkeypatch):
    file = tmp_path / "reasons.tsv"
    file.write_text('fox\ttools\ta "quote"\twhy\n', encoding="utf-8")
    monkeypatch.setattr(page, "REASONS", file)


def finding(*kinds, name="fox", **values):
    return page.Finding(
        name, "0.9.5", differences=[page.Difference(k, "", "row", "ids", "a", "b") for k in kinds], **values
    )


def test_a_difference_needs_a_reason_and_a_reason_a_difference(reasons):
    assert page.explain([finding("tools")], complete=True)[1] == []
    (line,) = page.explain([finding("tools", "plain")], complete=True)[1]
    assert "fox against 0.9.5" in line
    assert page.explain([finding()], complete=True)[1] == ["fox: tools is explained and does not differ"]
    assert page.explain([finding()], complete=False)[1] == []


def test_what_is_general_needs_no_reason_of_a_template(reasons):
    assert page.explain([finding("plain", name="owl", strips=True)], complete=True)[1] == []
    assert len(page.explain([finding("plain", name="owl")], complete=True)[1]) == 1


def test_the_page_counts_and_quotes(reasons):
    text = page.page(
        [finding("tools"), finding(name="owl", rows=4, same=4)], page.explain([], complete=False)[0], ["x"]
    )
    assert '| fox | tools | a "quote" | why |' in text
    assert "1 of 2 templates are equal" in text
    assert "No version that was run has x." in text


def test_reasons_are_given_for_templates_that_there_are():
    names = set(PluginHost().load().catalog.names("template"))
    assert set(page.explain([], complete=False)[0]) <= names


def test_every_row_ends_with_an_answer_and_rounds_alternate():
    for given in (rows.PLAIN, rows.TOOLS, rows.THOUGHTS):
        for row in given.values():
            asks = [message["from"] in ("human", "observation") for message in row["conversations"]]
            assert asks == [True, False] * (len(asks) // 2)
