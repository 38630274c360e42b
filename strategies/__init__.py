"""One strategy a file; a file dropped in here is found without further ado."""
