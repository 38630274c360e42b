"""Suites: which variants run together, and with which settings (TOML)."""
