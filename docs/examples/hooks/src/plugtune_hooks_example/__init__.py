"""One small plugin for each run-time hook."""
