ALGORITHMS = ["hetero_lr"]
