"""The command line: one module a command, each thin, each imported only when it runs."""
