"""Serves the Python models and the secure world to a Renode that runs in a process of its own.

The cores and memories are Renode's, everything that decides is here. `protocol` is the language on the wire, `listener`
admits a client, `remote` makes it look like an engine and memories to a SoC, `server` boots one image on it.
"""
