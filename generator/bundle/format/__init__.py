"""What a bundle is, to the byte, and how one is read that may come from anybody."""
