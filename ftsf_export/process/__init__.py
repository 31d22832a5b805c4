"""One child process: its parent calls a function in it by name, under a time limit, and outlives whatever it does."""
