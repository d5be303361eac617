"""A private Slurm with pretended GPUs below one folder: a plain one, or a managed one as large sites have it.

    python tests/slurm/cluster.py run COMMAND ...             # start, run a command on it, stop
    python tests/slurm/cluster.py --managed run COMMAND ...   # the same on the managed one
    python tests/slurm/cluster.py [--managed] start FOLDER    # prints what to export
    python tests/slurm/cluster.py stop FOLDER

Real daemons (Debian's slurm-wlm), loopback ports, no munge. The nodes may claim more cores and memory than the machine
has. Stopped by the process ids that it wrote down.

Plain: two nodes with two GPUs each, no accounting, as whoever starts it. Managed (slurmdbd and mariadb-server; root):
accounting with enforced associations, limits and QOS; two ordinary users, alice and bob; n1 with two a100 and their 8
shards, n2 with two v100, n3 without GPUs; partitions with a MaxTime, for one group, and two whose jobs give way: they
are cancelled (scavenge) or go back into the queue (again).
"""

import argparse
import contextlib
import grp
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

DAEMONS: list[subprocess.Popen] = []  # that this process started, so that it can reap them
COMMANDS = ("slurmctld", "slurmd", "sbatch", "squeue", "scontrol", "scancel", "sinfo")
DATABASE_COMMANDS = ("slurmdbd", "mariadbd", "mariadb-install-db", "mariadb", "sacctmgr", "sacct", "useradd")
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
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0,bf_interval=2,requeue_delay=1
{nodes}
"""
NODE = "NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=4 RealMemory=16000 {gres}State=UNKNOWN"


@dataclass(frozen=True)
class Kind:
    """What a cluster is made of.

    Attributes:
        nodes: {name: its Gres}.
        gres: lines of gres.conf; `{folder}` is the cluster's.
        lines: further lines of slurm.conf; `{database}` is the port of slurmdbd.
    """

    nodes: dict[str, str]
    gres: str
    lines: str


PLAIN = Kind(
    nodes={"n1": "gpu:2", "n2": "gpu:2"},
    gres="NodeName=n[1-2] Name=gpu File={folder}/dev/nvidia[0-1]",
    lines="""
GresTypes=gpu
PartitionName=gpu Nodes=n[1-2] Default=YES MaxTime=INFINITE State=UP
PartitionName=cpu Nodes=n2 MaxTime=INFINITE State=UP
""",
)
USERS = ("alice", "bob")  # bob belongs to the group `members` and to the account `guests`
MANAGED = Kind(
    nodes={"n1": "gpu:a100:2,shard:8", "n2": "gpu:v100:2", "n3": ""},
    gres="""NodeName=n1 Name=gpu Type=a100 File={folder}/dev/nvidia[0-1]
NodeName=n1 Name=shard Count=8
NodeName=n2 Name=gpu Type=v100 File={folder}/dev/nvidia[0-1]""",
    lines="""
GresTypes=gpu,shard
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={database}
AccountingStorageEnforce=associations,limits,qos
AccountingStorageTRES=gres/gpu
JobAcctGatherType=jobacct_gather/linux
PriorityType=priority/basic
TaskProlog={folder}/task_prolog
PreemptType=preempt/partition_prio
PreemptMode=CANCEL
PartitionName=gpu Nodes=n[1-2] Default=YES MaxTime=120 PreemptMode=OFF State=UP
PartitionName=short Nodes=n[1-2] MaxTime=2 PreemptMode=OFF State=UP
PartitionName=scavenge Nodes=n1 MaxTime=120 PriorityTier=1 PreemptMode=CANCEL State=UP
PartitionName=again Nodes=n1 MaxTime=120 PriorityTier=1 PreemptMode=REQUEUE State=UP
PartitionName=urgent Nodes=n1 MaxTime=120 PriorityTier=10 PreemptMode=OFF State=UP
PartitionName=members Nodes=n[1-2] MaxTime=120 AllowGroups=members PreemptMode=OFF State=UP
PartitionName=cpu Nodes=n3 MaxTime=120 PreemptMode=OFF State=UP
""",
)
# few: three jobs at a time in the queue. brief: 10 minutes. lab and guests are accounts.
ASSOCIATIONS = (
    "add cluster pretended",
    "add qos few MaxSubmitJobsPerUser=3",
    "add qos brief MaxWall=10",
    "add account lab,guests",
    "add user alice account=lab qos=normal,few,brief defaultqos=normal",
    "add user bob account=guests qos=normal defaultqos=normal",
    "add user root account=lab qos=normal defaultqos=normal",
)
SLURMDBD_CONF = """
AuthType=auth/none
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort={database}
SlurmUser={user}
LogFile={folder}/slurmdbd.log
PidFile={folder}/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={store}
StorageUser=slurm
StoragePass=pretended
StorageLoc=accounting
"""


def missing_commands(managed: bool = False) -> list[str]:
    """Return the programs that this machine lacks, and what else keeps the managed cluster from starting."""
    missing = [name for name in COMMANDS if not _find(name)]
    if managed:
        missing += [name for name in DATABASE_COMMANDS if not _find(name)]
        missing += [] if os.getuid() == 0 else ["root"]
    return missing


def start(folder: Path, managed: bool = False) -> dict[str, str]:
    """Start the cluster below `folder`, which must be empty; return the environment of its users."""
    folder, kind = folder.resolve(), MANAGED if managed else PLAIN
    for name in ("state", "dev", *(f"spool/{node}" for node in kind.nodes)):
        (folder / name).mkdir(parents=True)
    controller, database, store, *ports = _free_ports(3 + len(kind.nodes))
    host = socket.gethostname().split(".")[0]
    nodes = [
        NODE.format(name=node, host=host, port=port, gres=gres and f"Gres={gres} ")
        for (node, gres), port in zip(kind.nodes.items(), ports, strict=True)
    ]
    conf = folder / "slurm.conf"
    user = subprocess.check_output(["id", "-un"], text=True).strip()
    text = SLURM_CONF + kind.lines
    conf.write_text(
        text.format(folder=folder, controller=controller, user=user, nodes="\n".join(nodes), database=database)
    )
    (folder / "plugstack.conf").touch()
    prolog = folder / "task_prolog"  # of the managed cluster: what stands in this file changes the environment of jobs
    prolog.write_text(f"#!/bin/sh\ncat {folder}/job_environment 2>/dev/null\nexit 0\n")
    prolog.chmod(0o755)
    for index in range(2):
        (folder / f"dev/nvidia{index}").symlink_to("/dev/null")
    (folder / "gres.conf").write_text(f"AutoDetect=off\n{kind.gres.format(folder=folder)}\n")
    environment = os.environ | {"SLURM_CONF": str(conf), "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}
    if managed:
        _add_users(folder)
        _start_database(
            folder, environment, SLURMDBD_CONF.format(folder=folder, user=user, database=database, store=store)
        )
    _launch(folder, environment, "slurmctld", "-D", "-c")
    for node in kind.nodes:
        start_node(folder, environment, node)
    _await_idle(environment, len(kind.nodes))
    return environment


def _add_users(folder: Path) -> None:
    """Add the users and the group that this machine lacks; `stop` removes them again."""
    try:
        grp.getgrnam("members")
    except KeyError:
        subprocess.run(["groupadd", "--system", "members"], check=True)
        (folder / "members.group").touch()
    for name in USERS:
        try:
            pwd.getpwnam(name)
        except KeyError:
            more = ["--groups", "members"] if name == "bob" else []
            subprocess.run(["useradd", "--system", "--user-group", "--shell", "/bin/bash", *more, name], check=True)
            (folder / f"{name}.user").touch()


def _start_database(folder: Path, environment: dict[str, str], conf: str) -> None:
    """Start MariaDB and slurmdbd; enter accounts, users and limits."""
    store = re.search(r"StoragePort=(\d+)", conf)[1]
    sql = folder / "sql"
    own = ["--no-defaults", f"--datadir={sql}", f"--user={pwd.getpwuid(os.getuid()).pw_name}"]
    quick = ["--innodb-buffer-pool-size=64M", "--innodb-flush-log-at-trx-commit=0", "--innodb-lock-wait-timeout=900"]
    install = ["mariadb-install-db", *own, "--skip-test-db", "--auth-root-authentication-method=normal"]
    subprocess.run(install, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    address = [f"--socket={folder}/sql.socket", f"--port={store}", "--bind-address=127.0.0.1"]
    _launch(folder, environment, "mariadbd", *own, *quick, *address, f"--pid-file={folder}/sql.pid")
    client = [_find("mariadb"), "--no-defaults", f"--socket={folder}/sql.socket", "--user=root", "--execute"]
    grant = "grant all on accounting.* to slurm@'127.0.0.1' identified by 'pretended'"
    _await(lambda: subprocess.run([*client, grant], capture_output=True, check=False).returncode == 0, "MariaDB")
    path = folder / "slurmdbd.conf"
    path.touch(mode=0o600)
    path.write_text(conf)
    _launch(folder, environment, "slurmdbd", "-D")
    manage = [_find("sacctmgr"), "--immediate", "--quiet"]
    ask = [*manage, "list", "cluster"]
    _await(lambda: subprocess.run(ask, env=environment, capture_output=True, check=False).returncode == 0, "slurmdbd")
    for line in ASSOCIATIONS:
        subprocess.run([*manage, *line.split()], env=environment, check=True, stdout=subprocess.DEVNULL)


def _await(is_so: Callable[[], bool], what: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} does not answer after {seconds} s")
        time.sleep(0.2)


def stop(folder: Path) -> None:
    """Stop the daemons that `start` started below `folder`, and every job step they left."""
    for path in sorted(folder.glob("*.started"), key=lambda path: path.stat().st_mtime, reverse=True):
        _end(path, signal.SIGTERM, signal.SIGKILL)
    for path in folder.glob("*.user"):
        subprocess.run(["userdel", "--force", path.stem], check=True, stderr=subprocess.DEVNULL)
        path.unlink()
    for path in folder.glob("*.group"):
        subprocess.run(["groupdel", path.stem], check=True)
        path.unlink()


def restart_controller(folder: Path, environment: dict[str, str]) -> None:
    """Kill slurmctld and start it again: it finds its state, the jobs go on."""
    _end(folder / "slurmctld.started", signal.SIGKILL)
    _launch(folder, environment, "slurmctld", "-D")
    ping = {"args": ["scontrol", "ping"], "env": environment, "capture_output": True, "text": True, "check": False}
    _await(lambda: "UP" in subprocess.run(**ping).stdout, "slurmctld")


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


def _await_idle(environment: dict[str, str], count: int) -> None:
    ask = [_find("scontrol"), "show", "nodes", "--oneliner"]

    def are_idle() -> bool:
        answer = subprocess.run(ask, env=environment, capture_output=True, text=True, check=False).stdout
        return len(re.findall(r" State=IDLE ", answer)) == count

    _await(are_idle, "a node")


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


def run(command: list[str], managed: bool) -> int:
    """Run a command as a user of a cluster that lives as long; return its exit status."""
    with tempfile.TemporaryDirectory(prefix="slurm-") as folder:
        Path(folder).chmod(0o755)
        try:
            return subprocess.run(command, env=start(Path(folder) / "cluster", managed), check=False).returncode
        finally:
            stop(Path(folder) / "cluster")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["run", "start", "stop"])
    parser.add_argument("--managed", action="store_true", help="with accounting, limits and users")
    parser.add_argument("what", nargs=argparse.REMAINDER, help="COMMAND ... (run), FOLDER (start, stop)")
    arguments = parser.parse_args()
    if not arguments.what:
        parser.error(f"{arguments.action} needs {'a command' if arguments.action == 'run' else 'a folder'}")
    if missing_commands(arguments.managed):
        needed = "slurm-wlm slurmdbd mariadb-server" if arguments.managed else "slurm-wlm"
        parser.exit(1, f"not found: {', '.join(missing_commands(arguments.managed))} (Debian: {needed})\n")
    if arguments.action == "run":
        parser.exit(run(arguments.what, arguments.managed))
    cluster_folder = Path(arguments.what[0])
    if arguments.action == "stop":
        stop(cluster_folder)
    else:
        started = start(cluster_folder, arguments.managed)
        print(f"export SLURM_CONF={started['SLURM_CONF']}")
