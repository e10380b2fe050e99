"""A small Redis: its protocol, and an engine whose commands may block, on `ewb.FrontEnd`.

    resp        bytes to requests, replies to bytes: sans-I/O
    outcome     the engine's own statuses, and how a command is refused
    store       what is kept: strings and lists, in memory
    commands    the table of commands that are answered at once
    waiters     who waits for an element of a list (BLPOP)
    engine      executes commands: from the table, and those that would block
    __main__    the program

All state is touched on the front end only, so nothing has a lock. Producers are given snapshots.
"""
