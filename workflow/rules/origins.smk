"""What files are to say that made them: the params of the rules that make them. No rules."""

TABLES_FROM = ("collect_tables", "measure_references", "measure_convergence", "compare_arms")


class Known(dict):
    """The wildcards that are known, of all jobs alike."""

    __getattr__ = dict.__getitem__


def params_of(rule, **known):
    """Return the params that a rule gives all jobs with these wildcards."""
    params = getattr(rules, rule).params.items()
    return {name: value(Known(known)) if callable(value) else value for name, value in params}


def asked_origins(wildcards):
    """Return {arm: {rule: its params}} of the rules that make the files of a chain."""
    single, chained = ["train_single_pass", "evaluate_model"], ["compute_saliency", "shrink_mask", "train_model"]
    return {
        arm: {rule: params_of(rule, arm=arm) for rule in single + (chained if is_chain(arm) else [])} for arm in ARMS
    }


def asked_tables(wildcards):
    """Return {rule: its params} of the rules that make the tables of the whole experiment."""
    return {rule: params_of(rule) for rule in TABLES_FROM}
