"""Everything between the words of a command and a row in the database."""
