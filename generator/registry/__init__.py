"""A client for OCI registries: may I push, pull and push by digest, tag.

Own code on urllib3, because skopeo, crane and oras resume no blob, and oras-py takes a refused token for an anonymous
one and says the same of every failure. Imported only where a registry is asked: urllib3 is slow to import.
"""
