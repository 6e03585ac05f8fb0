"""Trains a small language model on a tokenlab dataset and scores it in bits per byte.

Run as a process (`python -m trainer`); tokenlab never imports it, and it imports nothing of
tokenlab but `tokenlab.accounting`.
"""
