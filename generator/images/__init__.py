"""OCI images, wherever they are."""
