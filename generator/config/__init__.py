"""``.env`` to typed, checked settings."""
