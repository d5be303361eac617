"""A private Slurm of two nodes with two pretended GPUs each, below one folder, as an ordinary user.

    python tests/slurm/cluster.py run COMMAND ...   # start, run a command on it, stop
    python tests/slurm/cluster.py start FOLDER      # prints what to export
    python tests/slurm/cluster.py stop FOLDER

Real daemons (Debian's slurm-wlm), loopback ports, no root, no munge, no accounting. The nodes may claim more cores and
memory than the machine has. Stopped by the process ids that it wrote down.
"""

import argparse
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

NODES = ("n1", "n2")
DAEMONS: list[subprocess.Popen] = []  # that this process started, so that it can reap them
COMMANDS = ("slurmctld", "slurmd", "sbatch", "squeue", "scontrol", "scancel", "sinfo")
# The step executor of Snakemake's plugin strips SLURM_CONF from the job; this srun, first on PATH, puts it back.
SRUN = """#!/bin/bash
export SLURM_CONF={conf}
exec {srun} "$@"
"""

SLURM_CONF = """
ClusterName=pretended
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={controller}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/none
CredType=cred/none
AuthInfo=cred_expire=10
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
PlugStackConfig={folder}/plugstack.conf
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
ReturnToService=2
SlurmdTimeout=5
KillWait=5
MinJobAge=300
JobRequeue=1
VSizeFactor=400
GresTypes=gpu
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0,bf_interval=2,requeue_delay=1
{nodes}
PartitionName=gpu Nodes=n[1-2] Default=YES MaxTime=INFINITE State=UP
PartitionName=cpu Nodes=n2 MaxTime=INFINITE State=UP
"""
NODE = (
    "NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} "
    "CPUs=4 RealMemory=16000 Gres=gpu:2 State=UNKNOWN"
)


def missing_commands() -> list[str]:
    """Return the Slurm programs that this machine lacks."""
    return [name for name in COMMANDS if not _find(name)]


def start(folder: Path) -> dict[str, str]:
    """Start the cluster below `folder`, which must be empty; return the environment of its users."""
    folder = folder.resolve()
    for name in ("state", "dev", "bin", *(f"spool/{node}" for node in NODES)):
        (folder / name).mkdir(parents=True)
    controller, *ports = _free_ports(1 + len(NODES))
    host = socket.gethostname().split(".")[0]
    nodes = "\n".join(NODE.format(name=node, host=host, port=port) for node, port in zip(NODES, ports, strict=True))
    conf = folder / "slurm.conf"
    user = subprocess.check_output(["id", "-un"], text=True).strip()
    conf.write_text(SLURM_CONF.format(folder=folder, controller=controller, user=user, nodes=nodes))
    (folder / "plugstack.conf").touch()
    for index in range(2):
        (folder / f"dev/nvidia{index}").symlink_to("/dev/null")
    (folder / "gres.conf").write_text(f"AutoDetect=off\nNodeName=n[1-2] Name=gpu File={folder}/dev/nvidia[0-1]\n")
    _write_program(folder / "bin/srun", SRUN.format(conf=conf, srun=_find("srun")))
    environment = os.environ | {"SLURM_CONF": str(conf), "PATH": f"{folder}/bin:{os.environ['PATH']}:/usr/sbin:/sbin"}
    _launch(folder, environment, "slurmctld", "-D", "-c")
    for node in NODES:
        start_node(folder, environment, node)
    _await_idle(environment)
    return environment


def stop(folder: Path) -> None:
    """Stop the daemons that `start` started below `folder`, and every job step they left."""
    for path in sorted(folder.glob("*.started"), reverse=True):
        _end(path, signal.SIGTERM, signal.SIGKILL)


def restart_controller(folder: Path, environment: dict[str, str]) -> None:
    """Kill slurmctld and start it again: it finds its state, the jobs go on."""
    _end(folder / "slurmctld.started", signal.SIGKILL)
    _launch(folder, environment, "slurmctld", "-D")
    ping = ["scontrol", "ping"]
    while "UP" not in subprocess.run(ping, env=environment, capture_output=True, text=True, check=False).stdout:
        time.sleep(0.2)


def crash_node(folder: Path, node: str) -> None:
    """Kill a node's daemon and all its jobs at once, as a power cut does. Slurm notices after SlurmdTimeout."""
    started = folder / f"slurmd-{node}.started"
    family = [int(started.read_text())]
    for pid in family:  # grows; parents come first, so that none can report the end of its child
        family += _children(pid)
    for pid in family:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    _end(started, signal.SIGKILL)


def _children(pid: int) -> list[int]:
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False)
    return [int(child) for child in found.stdout.split()]


def start_node(folder: Path, environment: dict[str, str], node: str) -> None:
    """Start a node's daemon."""
    _launch(folder, environment, "slurmd", "-D", "-N", node)


def _end(started: Path, *signals: int) -> None:
    pid = int(started.read_text())
    for number in signals:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            break
        for _ in range(50):
            for process in DAEMONS:
                process.poll()
            if not Path(f"/proc/{pid}").exists():
                break
            time.sleep(0.1)
    started.unlink()


def _launch(folder: Path, environment: dict[str, str], *command: str) -> None:
    name = "-".join(part for part in command if not part.startswith("-"))
    with open(folder / f"{name}.out", "wb") as out:
        process = subprocess.Popen(
            [_find(command[0]), *command[1:]], env=environment, stdout=out, stderr=out, start_new_session=True
        )
    DAEMONS.append(process)
    (folder / f"{name}.started").write_text(str(process.pid))


def _await_idle(environment: dict[str, str], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        done = subprocess.run(
            ["sinfo", "-h", "-N", "-p", "gpu", "-o", "%t"], env=environment, capture_output=True, text=True, check=False
        )
        if done.stdout.split() == ["idle"] * len(NODES):
            return
        time.sleep(0.2)
    raise TimeoutError(f"the nodes are not idle after {seconds} s: {done.stdout}{done.stderr}")


def _free_ports(count: int) -> list[int]:
    sockets = []
    for port in range(20000, 30000):  # below the range from which the kernel hands out ports
        candidate = socket.socket()
        try:
            candidate.bind(("127.0.0.1", port))
        except OSError:
            candidate.close()
            continue
        sockets.append(candidate)
        if len(sockets) == count:
            break
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _find(command: str) -> str | None:
    return shutil.which(command) or shutil.which(command, path="/usr/sbin:/sbin")


def _write_program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def run(command: list[str]) -> int:
    """Run a command as a user of a cluster that lives as long; return its exit status."""
    with tempfile.TemporaryDirectory(prefix="slurm-") as folder:
        try:
            return subprocess.run(command, env=start(Path(folder) / "cluster"), check=False).returncode
        finally:
            stop(Path(folder) / "cluster")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["run", "start", "stop"])
    parser.add_argument("what", nargs=argparse.REMAINDER, help="COMMAND ... (run), FOLDER (start, stop)")
    arguments = parser.parse_args()
    if not arguments.what:
        parser.error(f"{arguments.action} needs {'a command' if arguments.action == 'run' else 'a folder'}")
    if missing_commands():
        parser.exit(1, f"Slurm is not installed: {', '.join(missing_commands())} not found (Debian: slurm-wlm)\n")
    if arguments.action == "run":
        parser.exit(run(arguments.what))
    cluster_folder = Path(arguments.what[0])
    if arguments.action == "stop":
        stop(cluster_folder)
    else:
        started = start(cluster_folder)
        print(f"export SLURM_CONF={started['SLURM_CONF']} PATH={cluster_folder.resolve()}/bin:$PATH")
