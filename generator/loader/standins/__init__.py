"""Stand-ins for standard modules that Debian's python3-minimal lacks, with what the loader's modules ask of them.

``fategen-load.pyz`` puts them behind the standard library, so they are used only where the real ones are missing.
"""
