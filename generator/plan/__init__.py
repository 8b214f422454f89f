"""Settings and a catalogue, resolved into a plan."""
