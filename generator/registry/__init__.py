"""A client for OCI registries on urllib3; own code, because skopeo, crane and oras resume no blob.

Imported only where a registry is asked: urllib3 is slow to import.
"""
