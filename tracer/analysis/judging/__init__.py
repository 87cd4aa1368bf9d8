"""How :class:`tracer.analysis.judge.Judge` works inside: keys, cases, rules, and the look-up."""
