"""``python -m saccade``: the command line."""

from saccade.cli import app

app(prog_name="saccade")
