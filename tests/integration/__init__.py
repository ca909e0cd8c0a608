"""The agent and the simulated kubelet together: see docs/testing.md."""
