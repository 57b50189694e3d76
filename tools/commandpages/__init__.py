"""What is written from the descriptions of the operator's commands: a page, a manual page, completion for shells."""
