"""Who is told of the inventory: kubelet, and runtimes through CDI files."""
