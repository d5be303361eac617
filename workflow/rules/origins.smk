"""What the files of an arm are to say that made them: the params of the rules that make them. No rules."""


class OfArm(dict):
    """Wildcards of which only the arm is known."""

    __getattr__ = dict.__getitem__


def params_of(rule, arm):
    """Return the params that a rule gives the jobs of an arm."""
    params = getattr(rules, rule).params.items()
    return {name: value(OfArm(arm=arm)) if callable(value) else value for name, value in params}


def asked_origins(wildcards):
    """Return {arm: {rule: its params}} of the rules that make the files of a chain."""
    single, chained = ["train_single_pass", "evaluate_model"], ["compute_saliency", "shrink_mask", "train_model"]
    return {arm: {rule: params_of(rule, arm) for rule in single + (chained if is_chain(arm) else [])} for arm in ARMS}
