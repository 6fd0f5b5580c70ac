"""One module an output format, each with a pure ``render``: results in, text out. Nothing here reads or prints."""
