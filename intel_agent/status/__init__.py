"""What the running agent tells of itself over its own socket: the whole, or one thing's life."""
