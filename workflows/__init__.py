"""Workflows decide when; `domain` decides what."""
