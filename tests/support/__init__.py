"""What several tests share: makers of input, stubs, judges, services."""
