"""`python -m tokenlab`: the command line without its script."""

from tokenlab.cli import command

command()
