"""The browser for the tests of the board."""

from board_page import browser, pictures  # noqa: F401
