"""Docker, podman and containerd, as bundles are loaded into them."""
