"""Run a function in this fresh process; print its seconds and its peak memory in bytes.

peak.py [MODULE,...]MODULE:FUNCTION < pickled arguments. The modules are imported before, nothing else is, as in a job.
"""

import importlib
import pickle
import sys
import time

from machine import peak_memory

if __name__ == "__main__":
    modules, name = sys.argv[1].split(":")
    function = getattr([importlib.import_module(module) for module in modules.split(",")][-1], name)
    arguments = pickle.load(sys.stdin.buffer)
    begun = time.perf_counter()
    function(**arguments)
    print(time.perf_counter() - begun, peak_memory())
