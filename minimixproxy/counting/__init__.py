"""What the process counts, in plain integers that never go back. Who counts does not know who reads."""
