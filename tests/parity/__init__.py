"""The existing device plugins and the agent on the same node: what kubelet and containers get is the same."""
