"""Each figure of the README, as a command that prints it: ``scripts/bench [NAME…]``. Ratios side by side in one run."""
