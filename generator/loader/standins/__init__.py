"""Stand-ins for standard modules that Debian's python3-minimal lacks, and for requests and urllib3, with what the
loader's modules ask of them.

``fategen-load.pyz`` puts them behind everything else, so they are used only where the real ones are missing.
"""
