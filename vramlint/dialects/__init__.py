"""One module a framework: recognise its files and map them to the plan; nothing else knows a framework's keys."""
