"""The command line: `main` finds the command, each module beside it is one command, `reach` asks a running engine.

`--help` loads nothing but click: a command's module is imported when the command is called, and imports the engine
inside its function.
"""
