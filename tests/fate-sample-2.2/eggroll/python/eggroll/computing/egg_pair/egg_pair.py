import eggroll

print(eggroll.__version__)
