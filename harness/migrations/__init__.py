"""Numbered migrations of the database that holds the runs."""
