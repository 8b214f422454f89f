ready catalog
