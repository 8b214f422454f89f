"""``fategen-load.pyz``: what an air-gapped host needs of fategen, in one file for Python 3.8 without packages."""
