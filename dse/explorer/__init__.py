"""Interactive explorer in the browser: a local server with one page, or one offline HTML file."""
