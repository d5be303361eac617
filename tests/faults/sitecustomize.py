"""Ends jobs of the workflow as a test says; Python imports it where a test puts this folder on the path.

FAULTS is JSON, {"folder": where processes are counted, "plan": {script: [fault of its first process, of its second,
...]}}; a fault is [signal, event, delay in ms], or null. Events: "start" of Python; "open" or "rename", the first time
that a file which is being written is opened or given its name. With a delay "open" waits until the file is there.
"""

import json
import os
import re
import sys
import threading
import time

WATCHED = {"open": "open", "rename": "os.rename"}


def claim(folder, script):
    """Return how many processes of a script there were before this one."""
    number = 0
    while True:
        try:
            os.close(os.open(f"{folder}/{script}-{number}", os.O_CREAT | os.O_EXCL))
            return number
        except FileExistsError:
            number += 1


def strike(number, delay, path=None):
    if delay and path:
        threading.Thread(target=strike_beside, args=(number, delay, path), daemon=True).start()
    elif delay:
        threading.Timer(delay / 1000, os.kill, (os.getpid(), number)).start()
    else:
        os.kill(os.getpid(), number)


def strike_beside(number, delay, path):
    while not os.path.exists(path):
        time.sleep(0.0002)
    time.sleep(delay / 1000)
    os.kill(os.getpid(), number)


def arm(number, event, delay):
    if event == "start":
        strike(number, delay)
        return
    pending = [1]

    def watch(name, arguments):
        if pending and name == WATCHED[event] and ".partial" in str(arguments[0]):
            pending.clear()
            strike(number, delay, arguments[0] if event == "open" else None)

    sys.addaudithook(watch)


script = re.search(r"\.snakemake/scripts/tmp\w+\.(\w+)\.py", " ".join(sys.orig_argv))
if script and "FAULTS" in os.environ:
    faults = json.loads(os.environ["FAULTS"])
    planned = faults["plan"].get(script[1], [])
    number = claim(faults["folder"], script[1])
    if number < len(planned) and planned[number]:
        arm(*planned[number])
