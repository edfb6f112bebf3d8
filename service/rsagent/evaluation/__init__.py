"""Evaluation: samples with known masks, played through the same runner that serves requests, and scored."""
