"""`make bench`: what minimixproxy costs, beside what else does the same. See docs/benchmarks.md for the last run."""
