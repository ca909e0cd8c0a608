"""The central health monitor: what looks and messages tell of devices becomes Healthy or Unhealthy, for all kinds."""
