"""How the suite checks types and shapes at run time; an int is a float where one is asked for, as in PEP 484."""

from beartype import BeartypeConf, beartype

strict = beartype(conf=BeartypeConf(is_pep484_tower=True))
