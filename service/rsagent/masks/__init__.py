"""Masks as bool [H, W]: how they are spelled for clients, and how they are scored."""

from rsagent.masks.codecs import MaskFormat, decode_mask, encode_mask

__all__ = ["MaskFormat", "decode_mask", "encode_mask"]
