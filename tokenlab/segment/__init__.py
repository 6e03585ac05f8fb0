"""Segmenters: text to token ids, with the bytes that each token covers."""
