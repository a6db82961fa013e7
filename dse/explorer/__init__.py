"""The explorer in the browser: one warm process on this machine, one page; or one offline file without a process."""
