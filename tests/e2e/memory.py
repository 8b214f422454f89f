"""How much memory a program took: what it says itself, at its end.

The kernel's ru_maxrss is no answer: a child begins with its parent's, and pytest grows (setmax_mm_hiwater_rss in exec).
"""

PEAK = """
import atexit

def peak():
    with open("/proc/self/status") as status:
        print(next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:")))

atexit.register(peak)
"""
"""Python that makes the program after it print its peak, in bytes, as the last line of its standard output."""
