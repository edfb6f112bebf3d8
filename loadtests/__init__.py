"""Measurements of speed and memory. They report; no test depends on them."""
