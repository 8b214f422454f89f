def stop_registry(): pass
def use(*a): return ""
