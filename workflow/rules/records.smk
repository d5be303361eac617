"""Snakemake's records of what made each file, kept with the results as well: so they survive a copy, a moved folder, and a
lost `.snakemake`. No rules.

Every start brings them back, and gives each file that is still the recorded one the time of its record. So a copy plans
nothing, and what differs (settings, code, pictures) is seen as ever. A result without any record is refused.
"""

import base64
import time

METADATA = ".snakemake/metadata"  # one file per output: Snakemake's own place and form
INCOMPLETE = ".snakemake/incomplete"
BESIDE = ("status", "preview", "preflight", "set_up_site")  # rules that look at a run, with the prefix of a module
SAMPLE = 1 << 16  # bytes at both ends of a file: they hold a model's initial weights, a table's last row


def longest_name(folder):
    os.makedirs(folder, exist_ok=True)
    return os.pathconf(folder, "PC_NAME_MAX") - 1


def record_path(folder, path):
    """Return where Snakemake keeps what it knows of an output."""
    name, longest = base64.urlsafe_b64encode(path.encode()).decode(), longest_name(folder)
    parts = [name[start : start + longest] for start in range(0, len(name), longest)]
    return os.path.join(folder, *(f"@{part}" for part in parts[:-1]), parts[-1])


def write_mark(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as file:
        file.write(text)


def recorded_paths(folder):
    """Return {output: file of its record} of all records of a folder."""
    found = {}
    for place, _, names in os.walk(folder):
        above = "".join(part.removeprefix("@") for part in os.path.relpath(place, folder).split(os.sep) if part != ".")
        for name in names:
            with suppress(ValueError):
                found[base64.urlsafe_b64decode(above + name).decode()] = os.path.join(place, name)
    return found


def by_variable(path):
    """Return a path with the path variable that it lies below, <results> or <resources>; None if below none."""
    for variable in ("results", "resources", "logs"):
        folder = config["pathvars"][variable]
        if path.startswith(f"{folder}/"):
            return f"<{variable}>{path.removeprefix(folder)}"
    return None


def by_path(name):
    """Return the path that `by_variable` named."""
    variable, _, rest = name.removeprefix("<").partition(">")
    return f"{config['pathvars'][variable]}{rest}" if name.startswith("<") else name


def with_paths(record, change):
    """Return a record with its paths changed."""
    renamed = {key: [change(path) or path for path in record.get(key) or []] for key in ("input", "log")}
    checksums = {change(path) or path: value for path, value in (record.get("input_checksums") or {}).items()}
    return {**record, **renamed, "input_checksums": checksums}


def timed_file(path):
    """Return the file whose time Snakemake takes for an output's."""
    return os.path.join(path, ".snakemake_timestamp") if os.path.isdir(path) else path


def sample(path):
    """Return a digest of both ends of a file."""
    with open(path, "rb") as file:
        ends = file.read(SAMPLE)
        file.seek(max(0, os.path.getsize(path) - SAMPLE))
        return sha256(ends + file.read()).hexdigest()[:32]


class Records:
    """The records of these results, {output by path variable: {size, changed, sample, record}}; None for an output whose
    job had not ended when the run did.
    """

    def __init__(self, place):
        self.place, self.stored, self.written, self.known = place, {}, 0, set(recorded_paths(METADATA))
        self.is_changed = False  # beside what Snakemake records
        with suppress(OSError, ValueError), open(place) as file:
            self.stored = json.load(file)
            self.written = os.path.getmtime(place)

    def bring_back(self):
        """Give Snakemake the records that it lacks, and recorded files the times of their records.

        If a record is of a time to come, the clock was set back since: then the times of the files are recorded.
        """
        is_set_back = any(entry["changed"] > time.time_ns() for entry in self.stored.values() if entry)
        brought = 0
        for name, entry in self.stored.items():
            path = by_path(name)
            if entry is None:
                if path not in self.known and os.path.exists(path):
                    write_mark(record_path(INCOMPLETE, path), "{}")
                continue
            with suppress(FileNotFoundError, NotADirectoryError):
                file = timed_file(path)
                about = os.stat(file)
                is_timed = about.st_mtime_ns == entry["changed"]
                if about.st_size != entry["size"] or not (is_timed or sample(file) == entry["sample"]):
                    continue
                if is_set_back:
                    entry["changed"], self.is_changed = about.st_mtime_ns, True
                elif not is_timed:
                    os.utime(file, ns=(about.st_atime_ns, entry["changed"]))
                if path not in self.known:
                    write_mark(record_path(METADATA, path), json.dumps(with_paths(entry["record"], by_path)))
                brought += path not in self.known or not is_timed
                self.known.add(path)
        if brought:
            print(f"{RESULTS}: copied or moved here, their records with them: {brought} of its files", file=sys.stderr)

    def unrecorded(self):
        """Yield the files and folders of results without a record; what lies in a folder that has one is recorded."""
        known = self.known | recorded_paths(INCOMPLETE).keys()
        for place, folders, names in os.walk(RESULTS):
            yield from (path for name in folders + names if (path := os.path.join(place, name)) not in known)
            folders[:] = [name for name in folders if os.path.join(place, name) not in known]

    def refuse_unknown(self):
        """Stop if there are results that nothing tells the origin of: they would be taken for those that are asked for."""
        outputs = [output for rule in workflow.rules for output in rule.output]
        unknown = sorted(path for path in self.unrecorded() if any(output.match(path) for output in outputs))
        names = f"{unknown[0]} and {len(unknown) - 1} more" if len(unknown) > 1 else "".join(unknown)
        what = f"nothing tells what made {names}; delete them, and they are made again"
        refuse_unless(not unknown, "pathvars.results", what)

    def keep(self, planned=()):
        """Write the records of all files that were made since, whole; where that cannot be, the next start does.

        Args:
            planned: outputs of the jobs of a run that begins; if it is killed, those without a record are made again.
        """
        new = 0
        for path, record in recorded_paths(METADATA).items():
            name = by_variable(path)
            with suppress(OSError, ValueError):
                if name is None or (self.stored.get(name) and os.path.getmtime(record) < self.written):
                    continue
                with open(record) as file:
                    told = with_paths(json.load(file), by_variable)
                if (self.stored.get(name) or {}).get("record") == told:
                    continue
                file = timed_file(path)
                about = os.stat(file)
                version = {"size": about.st_size, "changed": about.st_mtime_ns, "sample": sample(file)}
                self.stored[name], new = {**version, "record": told}, new + 1
        marked = set(map(by_variable, [*recorded_paths(INCOMPLETE), *planned])) - {None}
        unfinished = {name for name in marked if self.stored.get(name, "") is not None}
        self.stored |= dict.fromkeys(unfinished)
        if new or unfinished or self.is_changed:
            with suppress(OSError):
                os.makedirs(RESULTS, exist_ok=True)
                partial = f"{self.place}.{platform.node()}-{os.getpid()}"
                with open(partial, "w") as file:
                    json.dump(self.stored, file)
                os.replace(partial, self.place)


refuse_foreign_library()
if workflow.is_main_process:
    RECORDS = Records(f"{RESULTS}/records.json")
    RECORDS.bring_back()


def looks_at_another_run():
    """Return whether all targets look at a run that may be going on: nothing of that run is written then."""
    targets = [str(target) for target in workflow.dag_settings.targets]
    return bool(targets) and all(target.endswith(BESIDE) for target in targets)


def refuse_second_run():
    """Stop if another run, from this folder or another, writes the same results; what looks at a run goes beside it."""
    if looks_at_another_run():
        return
    other = library_module("runtime.sole_writer").hold_results(RESULTS)
    refuse_unless(
        other is None, "pathvars.results", f"{RESULTS} is being written by {other}; wait for it, or name another"
    )


@cache
def begin_run():
    """Do what precedes the first job of a run: refuse what would disturb it, and note its code."""
    refuse_second_run()
    put_slurm_conf_back()
    refuse_leftover_jobs()
    stand_before_slurm()
    share_gpus()
    if not looks_at_another_run():
        KEPT_CODE.note_run()
    RECORDS.keep(str(path) for job in workflow.dag.needrun_jobs() for path in job.output)


@cache
def look_at_plan():
    """Do once what needs all rules, those of the caller of this module too, and precedes all jobs."""
    RECORDS.refuse_unknown()
    KEPT_CODE.tell_changes()
    if IS_MODULE:  # Snakemake runs the handlers of the main Snakefile alone
        for handler, own in {"onstart": begin_run, "onsuccess": RECORDS.keep, "onerror": RECORDS.keep}.items():
            getattr(workflow, handler)(followed_by(own, workflow.globals.get(handler)))


def followed_by(own, callers):
    """Return a handler that calls one without arguments, then the caller's, if there is any."""

    def handle(log):
        own()
        if callers:
            callers(log=log)

    return handle
