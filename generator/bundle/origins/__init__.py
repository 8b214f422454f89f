"""Where images come from: layouts that bake, an engine or a registry fills."""
