"""Losses, targets, training loops and stages."""
