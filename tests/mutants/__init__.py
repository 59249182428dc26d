"""Damages to generated code, and whether ``fx2py diff`` finds each and names the statement: see ``make mutants``."""
