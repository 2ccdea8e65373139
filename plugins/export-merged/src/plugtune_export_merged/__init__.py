"""Merged export."""
