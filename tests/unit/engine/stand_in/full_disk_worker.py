"""A worker that finds no room for its engine."""

print('{"ended": "output", "message": "the engine of 9 bytes cannot be written: No space left on device"}')
