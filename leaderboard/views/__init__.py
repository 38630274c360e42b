"""The pages, one a module: each draws the chosen rows by its `page(chosen)`."""
