"""Archives that other tools wrote: what is in them, whether they are whole, and the same images as a bundle."""
