"""A narrated run: real Prosody, the proxy as twistd runs it, real client libraries. Run by `make demo` and `make run`.

`python -m demo` plays the acts and exits: 0 if every step went as told, 1 if not. `python -m demo --keep-running`
starts the same servers, says how to point a client at them, and stays until Ctrl-C.

stage.py starts the servers, parties.py has the people, first_act.py is the main job, narrator.py prints and checks.
second_act.py, if there is one, shows client_proxy; what is called of it is written in __main__.py. third_act.py: push.
converse.py fetches Converse.js, website.py serves it, in_browsers.py has it for two people of `make run`.
"""
