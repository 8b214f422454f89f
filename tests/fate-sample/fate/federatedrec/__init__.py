ALGORITHMS = ["hetero_fm"]
