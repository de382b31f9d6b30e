"""Every parser of what strangers write, on mutated real inputs: see ``docs/security.md``."""
