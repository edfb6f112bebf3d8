"""Talking to a running service."""
