"""All input and output of account streams: which accounts there are, and the stream of each."""
