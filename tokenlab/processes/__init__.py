"""Processes of this machine that a command starts, and the memory that they share with it."""
