"""The families of models the tracer knows by name, one module each, with ``find(name) -> Target``."""
