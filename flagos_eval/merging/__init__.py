"""The shards of a run -> the run: are they all there and of one run, and what they say together."""

from .merge import merge as merge
