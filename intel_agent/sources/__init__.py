"""Where change comes from: the kernel's messages, files, and looking."""
