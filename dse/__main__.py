"""`python -m dse`, where the command `dse` is not on the path."""

from .cli import program

if __name__ == "__main__":
    program()
