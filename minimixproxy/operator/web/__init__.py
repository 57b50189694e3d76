"""The operator's web site: metrics, whether the process lives and is ready, and a page. Read-only."""
