"""A registry over HTTP: what it lets a login do, and manifests and blobs in both directions, digests kept.

Own code for what the clients at hand do not do: skopeo, crane and oras resume no blob, oras-py checks none in parallel,
and none of them tells a registry that lies from a line that broke. Imported only where a registry is asked: requests
is slow.
"""
