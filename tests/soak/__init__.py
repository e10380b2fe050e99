"""Mixed load for minutes or hours, verified and recorded: `python -m tests.soak --help`.

__main__     the command
running      a server, its clients, and a sample every second
clients      who reads, writes, scans, dawdles and leaves
model        what documents may be like at any time
judging      whether what was recorded is flat
plotting     the same as a picture
"""
