"""Docker: its processes, configuration, engine and builders."""
