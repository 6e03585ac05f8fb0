"""Screening: schemes ranked in minutes by an n-gram model, before any of them is trained on."""
