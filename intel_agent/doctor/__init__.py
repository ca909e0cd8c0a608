"""Why is a device not there? Checks of a node and of what surrounds the agent on it.

A check is a pure function of `Node` that yields findings; `checks.CHECKS` has all of them. What is asked of kubelet is
asked before (`intel_agent.publish.probe`). Nothing here is imported by `run`.
"""
