"""The pages, one a module: each draws the chosen group of rows by its `page(chosen)`."""
