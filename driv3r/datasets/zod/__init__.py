"""Zenseact Open Dataset."""

from driv3r.datasets.zod.reader import ZodReader

__all__ = ["ZodReader"]
