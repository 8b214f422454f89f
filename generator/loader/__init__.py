"""``fategen-load.pyz``: what the offline host needs of fategen, as one file for Python 3.8 with nothing installed."""
