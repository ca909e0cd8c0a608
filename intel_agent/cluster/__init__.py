"""The cluster as this node's agent knows it: its own Node object, and what it may ask the API server for.

Nothing here runs unless something that needs it is used.
"""
