"""`make mutants`: faults put into the code at random, each of which a unit test should notice."""
