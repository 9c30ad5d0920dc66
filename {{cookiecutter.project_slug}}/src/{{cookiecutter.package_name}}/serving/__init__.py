"""Knows HTTP, asks `model` for predictions."""
